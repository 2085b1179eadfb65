"""
Corrections of visitors: with their consent, clip and text go to a dataset of the Hub from which training reads.

    with open_corrections(settings, folder, "uz") as corrections:
        corrections.keep("clip.webm", "chiroqni yoq", consent=True)

The dataset holds `manifest.jsonl` and the clips that it names:

    {"audio_filepath": "clips/3f/3f0c….flac", "text": "chiroqni yoq", "lang": "uz", "duration": 1.27}

Downloaded, it is a corpus like any other: `{name: feedback, path: corpora/feedback/manifest.jsonl}`.
"""

import io
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import httpx

from escoita.audio.loading import SAMPLING_RATE, is_silent, read_recording, seconds
from escoita.errors import AudioError, EscoitaError
from escoita.recipe.recipe import Space
from escoita.space.recording import check_limits, page_words
from escoita.space.sending import Sender
from escoita.space.texts import say


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
        settings ([`~escoita.recipe.recipe.Space`]): `feedback` names the dataset, which is made where it is missing.
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
        settings ([`~escoita.recipe.recipe.Space`]): The limits of the page.
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
        raise AudioError(recording.name, "nothing can be heard in it")
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
        settings ([`~escoita.recipe.recipe.Space`]): The limits of the page.
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
