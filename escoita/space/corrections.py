"""Send corrections of visitors, with their consent, to a dataset of the Hub."""

import io
import json
import tempfile
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import soundfile
from huggingface_hub import CommitInfo, CommitOperationAdd, CommitScheduler, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import httpx

from escoita.audio.loading import SAMPLING_RATE, is_silent, read_recording, seconds
from escoita.errors import AudioError, EscoitaError
from escoita.recipe.schema import Space
from escoita.space.client_limits import check_limits, page_words
from escoita.space.texts import say
from escoita.utils.files import write_atomically


MANIFEST, CARD = "manifest.jsonl", "README.md"
# Corrections that wait for the Hub, should it not be reached; a clip of 30 seconds is under a megabyte.
MOST_WAITING = 200


def card(repo: str, language: str) -> str:
    """What the dataset says of itself; written once, and anybody's to change."""
    return f"""---
pretty_name: Corrections by visitors
language: [{language}]
task_categories: [automatic-speech-recognition]
configs:
  - {{config_name: default, data_files: {MANIFEST}}}
---
# Corrections by visitors

Recordings that visitors sent to the demo of a speech model, with the transcripts that they corrected. Each agreed to
this, in the language in which they read the page:

> {say("feedback.consent", repo=repo)}

Nobody has checked the transcripts. Clips are mono flac at 16 kHz; names of files, of persons and dates are not kept.

```bash
hf download {repo} --repo-type dataset --local-dir corpora/feedback
```

A recipe of escoita trains on them with

```yaml
corpora:
  train:
    - {{name: feedback, path: corpora/feedback/{MANIFEST}}}
```
"""


class Sender(CommitScheduler):
    """
    Sends corrections in one commit every few minutes, and forgets them here.

    CommitScheduler sends files that grow in a folder which only this process writes. A Space starts anew with an empty
    folder, and may run twice: so rows are put behind those that the manifest has on the Hub, in a commit on top of
    what was read. If another came first the Hub refuses it, and the next one tries again.
    """

    def add(self, name: str, clip: bytes, row: dict[str, Any]) -> None:
        """
        Lays a correction into the folder.

        Args:
            name (`str`): Of its files.
            clip (`bytes`): Goes where the row says.
            row (`dict`): A line of the manifest.

        Raises:
            EscoitaError: Too many wait.
        """
        audio, line = (self.folder_path / f"{name}.{ending}" for ending in ("flac", "json"))
        with self.lock:
            if len(list(self.folder_path.glob("*.json"))) >= MOST_WAITING:
                raise EscoitaError(say("refusal.corrections_wait"))
            try:
                write_atomically(audio, clip)
                # Last: what has no row is not sent.
                write_atomically(line, json.dumps(row, ensure_ascii=False))
            except BaseException:
                audio.unlink(missing_ok=True)
                raise

    def push_to_hub(self) -> CommitInfo | None:
        """One commit of all that waits; called by CommitScheduler, one at a time."""
        with self.lock:
            waiting = sorted(self.folder_path.glob("*.json"))
        if not waiting:
            return None
        info = self.api.dataset_info(self.repo_id)
        present = {file.rfilename for file in info.siblings or []}
        rows = {path: path.read_text("utf-8") for path in waiting}
        places = {path: str(json.loads(row)["audio_filepath"]) for path, row in rows.items()}
        # A commit whose answer was lost may be there already.
        new = [path for path in waiting if places[path] not in present]
        commit = None
        if new:
            lines = self._manifest(info.sha) if MANIFEST in present else ""
            contents: dict[str, Path | bytes] = {places[path]: path.with_suffix(".flac") for path in new}
            contents[MANIFEST] = (lines + "".join(f"{rows[path]}\n" for path in new)).encode()
            if CARD not in present:
                contents[CARD] = card(self.repo_id, json.loads(rows[new[0]])["lang"]).encode()
            commit = self.api.create_commit(
                self.repo_id,
                [CommitOperationAdd(place, content) for place, content in contents.items()],
                commit_message=f"Add {len(new)} correction{'s' if len(new) > 1 else ''}",
                repo_type=self.repo_type,
                parent_commit=info.sha,
            )
        with self.lock:
            for path in waiting:
                path.unlink()
                path.with_suffix(".flac").unlink()
        return commit

    def _manifest(self, revision: str | None) -> str:
        """The rows that are on the Hub, not kept in its cache here."""
        with tempfile.TemporaryDirectory() as folder:
            path = self.api.hf_hub_download(
                self.repo_id, MANIFEST, repo_type=self.repo_type, revision=revision, local_dir=folder
            )
            text = Path(path).read_text("utf-8")
        return text if not text or text.endswith("\n") else f"{text}\n"


# Minutes between commits, as CommitScheduler has them.
EVERY = 5.0
# Of one correction: several times what can be said in the longest clip.
MOST_CHARACTERS = 2_000


@contextmanager
def open_corrections(
    settings: Space,
    folder: Path,
    language: str,
    longest_seconds: float = 30.0,
    every: float = EVERY,
    api: HfApi | None = None,
) -> Iterator["Corrections | None"]:
    """
    Takes corrections while the page is open; what waits at the end is sent then.

    Args:
        settings ([`~escoita.recipe.schema.Space`]): `feedback` names the dataset, which is made where it is missing.
        folder (`Path`): Where corrections wait for the next commit; none of those from which Gradio serves files. What
            an earlier run left there is sent too.
        language (`str`): ISO code of what is spoken.
        longest_seconds (`float`, *optional*, defaults to 30): What the model hears at once; training takes no more.
        every (`float`, *optional*, defaults to 5): Minutes between commits.
        api (`HfApi`, *optional*): Client of the Hub; one with the token of `HF_TOKEN` or `hf auth login` unless given.

    Returns:
        `Iterator[Corrections | None]`: None where the recipe names no dataset: then nothing is kept at all.

    Raises:
        EscoitaError: There is no token, it may not write there, the dataset is public and the recipe does not say so,
            or the Hub did not take what waited at the end.
    """
    if settings.feedback is None:
        yield None
        return
    api = api or HfApi()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    # A kill came before the row of a clip was written, or in the middle of a file.
    halves = [clip for clip in folder.glob("*.flac") if not clip.with_suffix(".json").exists()]
    for half in [*halves, *folder.glob(".*.flac.*"), *folder.glob(".*.json.*")]:
        half.unlink()
    with hub_refusals(settings.feedback):
        _check_dataset(api, settings)
        sender = Sender(
            repo_id=settings.feedback,
            repo_type="dataset",
            private=settings.feedback_private,
            folder_path=folder,
            every=every,
            hf_api=api,
        )
    try:
        yield Corrections(sender, settings, language, longest_seconds)
    finally:
        try:
            with hub_refusals(settings.feedback, f"; what was not sent is in {folder}"):
                sender.trigger().result()
        finally:
            sender.stop()


@contextmanager
def hub_refusals(repo: str, advice: str = "") -> Iterator[None]:
    """Turns what the Hub refuses into one line; a token is never part of it."""
    try:
        yield
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        reason = (getattr(error, "server_message", None) or str(error).strip() or type(error).__name__).splitlines()[0]
        raise EscoitaError(
            f"space.feedback: {repo}: {reason}; it takes a token that writes to this dataset (HF_TOKEN){advice}"
        ) from error


def _check_dataset(api: HfApi, settings: Space) -> None:
    """Of a dataset that is there already; of one that is not, making it tells whether the token may write."""
    repo = str(settings.feedback)
    try:
        private = api.dataset_info(repo).private
    except RepositoryNotFoundError:
        return
    if settings.feedback_private and not private:
        raise EscoitaError(
            f"space.feedback: {repo}: anybody can listen to this dataset; make it private, or set"
            " space.feedback_private to false"
        )
    api.auth_check(repo, repo_type="dataset", write=True)


def encoded(recording: Path, settings: Space, longest_seconds: float) -> tuple[bytes, float]:
    """
    A recording as a model hears it: mono flac at 16 kHz, without whatever else its file told.

    Args:
        recording (`Path`): As the visitor sent it.
        settings ([`~escoita.recipe.schema.Space`]): The limits of the page.
        longest_seconds (`float`): What training takes.

    Returns:
        `tuple[bytes, float]`: The clip, and its length in seconds.

    Raises:
        AudioError: It is gone, over a limit, cannot be read, or is silent.
    """
    check_limits(recording, settings)
    with page_words(settings):
        # Of a file that is cut off the visitor read, and corrects, the text of what it holds.
        samples = read_recording(recording, recording.name, max_seconds=settings.max_minutes * 60).samples
    if is_silent(samples):
        raise AudioError("nothing can be heard in it", path=recording.name)
    length = seconds(samples)
    if length > longest_seconds:
        raise EscoitaError(
            say("refusal.long_clip", name=recording.name, size=f"{length:.1f}", limit=f"{longest_seconds:g}")
        )
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue(), length


def corrected(text: str) -> str:
    """
    A correction on one line.

    Raises:
        EscoitaError: It holds no letter or digit, or too much.
    """
    apart = "".join(" " if unicodedata.category(each) in ("Cc", "Cs") else each for each in text)
    words = " ".join(apart.split())
    if not any(each.isalnum() for each in words):
        raise EscoitaError(say("refusal.no_text"))
    if len(words) > MOST_CHARACTERS:
        raise EscoitaError(say("refusal.long_text", size=len(words), limit=MOST_CHARACTERS))
    return words


class Corrections:
    """
    Takes corrections, of which each is stored whole or not at all.

    Args:
        sender ([`Sender`]): Sends what waits in its folder.
        settings ([`~escoita.recipe.schema.Space`]): The limits of the page.
        language (`str`): ISO code of what is spoken.
        longest_seconds (`float`): What training takes.
    """

    def __init__(self, sender: Sender, settings: Space, language: str, longest_seconds: float):
        self.sender, self.settings, self.language, self.longest_seconds = sender, settings, language, longest_seconds

    def keep(self, recording: str | Path | None, text: str, consent: bool) -> None:
        """
        Stores a clip and its corrected text until the next commit; without consent neither is looked at.

        Args:
            recording (`str` or `Path`, *optional*): As the visitor sent it.
            text (`str`): What is really said.
            consent (`bool`): Whether the visitor agreed to `feedback.consent`.

        Raises:
            EscoitaError: Says in the page's English words what is missing; see [`~escoita.space.texts.refusal`].
        """
        if consent is not True:
            raise EscoitaError(say("refusal.consent"))
        if not recording:
            raise EscoitaError(say("refusal.not_heard"))
        words = corrected(text)
        clip, length = encoded(Path(recording), self.settings, self.longest_seconds)
        name = uuid.uuid4().hex
        row = {
            "audio_filepath": f"clips/{name[:2]}/{name}.flac",
            "text": words,
            "lang": self.language,
            "duration": round(length, 3),
        }
        self.sender.add(name, clip, row)
