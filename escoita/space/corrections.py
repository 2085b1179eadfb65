"""Upload corrections of visitors, with their consent, to a dataset of the Hub."""

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
from escoita.errors import EscoitaError
from escoita.hub.failures import hub_error
from escoita.recipe.schema import Space
from escoita.space.client_limits import check_limits
from escoita.space.refusals import RecordingRefusal, Refusal, translatable
from escoita.space.texts import translate
from escoita.utils.files import write_atomically


MANIFEST, CARD = "manifest.jsonl", "README.md"
# The number of corrections that may wait if the Hub cannot be reached; a clip of 30 seconds is under a megabyte.
MAX_WAITING = 200


def card(repo: str, language: str) -> str:
    """Return the README of the dataset, which is written once and never overwritten."""
    return f"""---
pretty_name: Corrections by visitors
language: [{language}]
task_categories: [automatic-speech-recognition]
configs:
  - {{config_name: default, data_files: {MANIFEST}}}
---
# Corrections by visitors

Recordings that visitors sent to the demo of a speech model, with transcripts that they corrected. Each visitor agreed
to this statement, in the language of the page:

> {translate("feedback.consent", repo=repo)}

The transcripts have not been checked. Clips are mono FLAC at 16 kHz; file names, names of people and dates are not
stored.

```bash
hf download {repo} --repo-type dataset --local-dir corpora/feedback
```

To train on them, add this to a recipe of escoita:

```yaml
corpora:
  train:
    - {{name: feedback, path: corpora/feedback/{MANIFEST}}}
```
"""


class Sender(CommitScheduler):
    """
    Upload waiting corrections in one commit every few minutes, and delete them on this machine.

    CommitScheduler expects files that only this process writes. A Space restarts with an empty folder, and may run
    twice: therefore rows are appended to the manifest on the Hub, in a commit with the revision that was read as its
    parent. If another commit came first, the Hub refuses this one, and the next one tries again.
    """

    def add(self, name: str, clip: bytes, row: dict[str, Any]) -> None:
        """
        Write a correction to the folder.

        Args:
            name (`str`): The name of its files, without suffix.
            clip (`bytes`): The encoded audio.
            row (`dict`): The row of the manifest.

        Raises:
            Refusal: Too many corrections wait.
        """
        audio, line = (self.folder_path / f"{name}.{ending}" for ending in ("flac", "json"))
        with self.lock:
            if len(list(self.folder_path.glob("*.json"))) >= MAX_WAITING:
                raise Refusal("corrections_wait")
            try:
                write_atomically(audio, clip)
                # The row is written last: a clip without a row is not uploaded.
                write_atomically(line, json.dumps(row, ensure_ascii=False))
            except BaseException:
                audio.unlink(missing_ok=True)
                raise

    def push_to_hub(self) -> CommitInfo | None:
        """Upload all waiting corrections in one commit; CommitScheduler makes one call at a time."""
        with self.lock:
            waiting = sorted(self.folder_path.glob("*.json"))
        if not waiting:
            return None
        info = self.api.dataset_info(self.repo_id)
        present = {file.rfilename for file in info.siblings or []}
        rows = {path: path.read_text("utf-8") for path in waiting}
        clips = {path: str(json.loads(row)["audio_filepath"]) for path, row in rows.items()}
        # The clip is already on the Hub if only the answer to an earlier commit was lost.
        new = [path for path in waiting if clips[path] not in present]
        commit = None
        if new:
            lines = self._manifest(info.sha) if MANIFEST in present else ""
            contents: dict[str, Path | bytes] = {clips[path]: path.with_suffix(".flac") for path in new}
            contents[MANIFEST] = (lines + "".join(f"{rows[path]}\n" for path in new)).encode()
            if CARD not in present:
                contents[CARD] = card(self.repo_id, json.loads(rows[new[0]])["lang"]).encode()
            commit = self.api.create_commit(
                self.repo_id,
                [CommitOperationAdd(name, content) for name, content in contents.items()],
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
        """Return the rows on the Hub, without a copy in the local cache."""
        with tempfile.TemporaryDirectory() as folder:
            path = self.api.hf_hub_download(
                self.repo_id, MANIFEST, repo_type=self.repo_type, revision=revision, local_dir=folder
            )
            text = Path(path).read_text("utf-8")
        return text if not text or text.endswith("\n") else f"{text}\n"


# Minutes between commits; the default of CommitScheduler.
EVERY = 5.0
# The length of a correction; several times the text of the longest clip.
MAX_CHARACTERS = 2_000


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
    Accept corrections while the page is open, and upload the waiting ones at the end.

    Args:
        settings ([`~escoita.recipe.schema.Space`]): The settings; `feedback` is the dataset, which is created if it
            does not exist.
        folder (`Path`): The folder in which corrections wait for the next commit. Gradio must not serve files from
            it. Corrections of an earlier run in it are uploaded too.
        language (`str`): The tag of the spoken language.
        longest_seconds (`float`, *optional*, defaults to 30): The longest clip, in seconds, that training accepts.
        every (`float`, *optional*, defaults to 5): The time between commits, in minutes.
        api (`HfApi`, *optional*): The client of the Hub. Defaults to one with the token of `HF_TOKEN` or
            `hf auth login`.

    Returns:
        `Iterator[Corrections | None]`: `None` if the recipe names no dataset; then nothing is stored.

    Raises:
        PublicDatasetError: The dataset is public, and the recipe requires a private one.
        FeedbackError: The Hub refuses, or there is no token with write access to the dataset.
    """
    if settings.feedback is None:
        yield None
        return
    api = api or HfApi()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    # Files without a row and temporary files remain if the process was killed while it wrote a correction.
    without_row = [clip for clip in folder.glob("*.flac") if not clip.with_suffix(".json").exists()]
    for path in [*without_row, *folder.glob(".*.flac.*"), *folder.glob(".*.json.*")]:
        path.unlink()
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
            with hub_refusals(settings.feedback, folder):
                sender.trigger().result()
        finally:
            sender.stop()


class FeedbackError(EscoitaError):
    """
    Report that corrections cannot be uploaded.

    Args:
        waiting (`Path`, *optional*): The folder with the corrections that were not uploaded.
    """

    waiting: Path | None = None


class PublicDatasetError(EscoitaError):
    """Report that the dataset of corrections is public, but the recipe requires a private one."""

    problem = "the dataset is public, and anyone can listen to the recordings"
    hint = "make it private, or set space.feedback_private to false"


@contextmanager
def hub_refusals(repo: str, waiting: Path | None = None) -> Iterator[None]:
    """
    Report errors of the Hub as one line, which never contains a token.

    Args:
        repo (`str`): The dataset.
        waiting (`Path`, *optional*): The folder with the corrections that wait for the upload.

    Raises:
        FeedbackError: The Hub refuses, or cannot be reached.
    """
    try:
        yield
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        found = hub_error(error, repo, "dataset")
        hint = f"{found.hint}; the page needs a token with write access to this dataset (HF_TOKEN)"
        if waiting is not None:
            hint += f"; the corrections that were not uploaded are in {waiting}"
        raise FeedbackError(found.problem, key="space.feedback", value=repo, hint=hint, waiting=waiting) from error


def _check_dataset(api: HfApi, settings: Space) -> None:
    """Check an existing dataset; creating a new one shows whether the token has write access."""
    repo = str(settings.feedback)
    try:
        private = api.dataset_info(repo).private
    except RepositoryNotFoundError:
        return
    if settings.feedback_private and not private:
        raise PublicDatasetError(key="space.feedback", value=repo)
    api.auth_check(repo, repo_type="dataset", write=True)


def encode_clip(recording: Path, settings: Space, longest_seconds: float) -> tuple[bytes, float]:
    """
    Encode a recording as mono FLAC at 16 kHz, without the metadata of its file.

    Args:
        recording (`Path`): The upload of the visitor.
        settings ([`~escoita.recipe.schema.Space`]): The limits of the page.
        longest_seconds (`float`): The longest clip, in seconds, that training accepts.

    Returns:
        `tuple[bytes, float]`: The clip, and its length in seconds.

    Raises:
        RecordingRefusal: The file does not exist, is over a limit, cannot be read, or is silent.
    """
    check_limits(recording, settings)
    with translatable(settings):
        # An incomplete file is accepted, because its available audio was transcribed too.
        samples = read_recording(recording, recording.name, max_seconds=settings.max_minutes * 60).samples
    if is_silent(samples):
        raise RecordingRefusal("silence", path=recording.name)
    length = seconds(samples)
    if length > longest_seconds:
        size, limit = f"{length:.1f}", f"{longest_seconds:g}"
        raise RecordingRefusal("long_clip", path=recording.name, size=size, limit=limit)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue(), length


def clean_correction(text: str) -> str:
    """
    Return a correction on one line, without control characters.

    Args:
        text (`str`): The input of the visitor.

    Raises:
        Refusal: The text has no letter or digit, or is too long.
    """
    printable = "".join(" " if unicodedata.category(each) in ("Cc", "Cs") else each for each in text)
    line = " ".join(printable.split())
    if not any(each.isalnum() for each in line):
        raise Refusal("no_text")
    if len(line) > MAX_CHARACTERS:
        raise Refusal("long_text", size=len(line), limit=MAX_CHARACTERS)
    return line


class Corrections:
    """
    Store corrections, each with its clip.

    Args:
        sender ([`Sender`]): The uploader of the waiting corrections.
        settings ([`~escoita.recipe.schema.Space`]): The limits of the page.
        language (`str`): The tag of the spoken language.
        longest_seconds (`float`): The longest clip, in seconds, that training accepts.
    """

    def __init__(self, sender: Sender, settings: Space, language: str, longest_seconds: float):
        self.sender, self.settings, self.language, self.longest_seconds = sender, settings, language, longest_seconds

    def keep(self, recording: str | Path | None, text: str, consent: bool) -> None:
        """
        Store a clip and its corrected text until the next commit; without consent neither is read.

        Args:
            recording (`str` or `Path`, *optional*): The upload of the visitor.
            text (`str`): The corrected transcript.
            consent (`bool`): Whether the visitor agreed to `feedback.consent`.

        Raises:
            Refusal: The consent, the recording or the text is missing or unusable, or too many corrections wait.
        """
        if consent is not True:
            raise Refusal("consent")
        if not recording:
            raise Refusal("not_transcribed")
        line = clean_correction(text)
        clip, length = encode_clip(Path(recording), self.settings, self.longest_seconds)
        name = uuid.uuid4().hex
        row = {
            "audio_filepath": f"clips/{name[:2]}/{name}.flac",
            "text": line,
            "lang": self.language,
            "duration": round(length, 3),
        }
        self.sender.add(name, clip, row)
