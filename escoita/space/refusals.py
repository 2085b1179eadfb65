"""Tell visitors in their language why a request was refused."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from escoita.audio.decoding import TruncatedAudioError
from escoita.audio.ffmpeg import UnreadableAudioError
from escoita.audio.loading import SHORTEST_SECONDS, SilentAudioError
from escoita.errors import AudioError, AudioLimitError, EscoitaError, ShareError
from escoita.recipe.schema import Space
from escoita.space.texts import format_time, translate
from escoita.utils.formatting import visible


# The errors of a recording that visitors read in their language, by the key of the text.
AUDIO_ERRORS: dict[type[AudioError], str] = {
    SilentAudioError: "silence",
    TruncatedAudioError: "cut_off",
    UnreadableAudioError: "unreadable",
}
# The problems of those errors that have no class of their own.
AUDIO_PROBLEMS = (
    ("deleted", re.compile("no such file")),
    ("not_numbers", re.compile("not numbers")),
    ("no_samples", re.compile("holds no samples")),
    ("too_short", re.compile("is shorter than")),
)
# A part of the problem if the memory of the device is too small for a recording.
OUT_OF_MEMORY = "out of memory"


class Refusal(EscoitaError):
    """
    Refuse a request, with a message in each language of the page.

    Args:
        key (`str`): The key of the text, without `refusal.`.
        path (`str`, *optional*): The file name of the recording concerned.
        values (`Any`): The values of the placeholders; `time` is a duration in seconds.
    """

    def __init__(self, key: str, *, path: str | None = None, **values: Any):
        super().__init__(_text(key, values, "en"), path=path)
        self.text_key, self.values = key, values

    def translated(self, language: str) -> str:
        """
        Return the message in a language.

        Args:
            language (`str`): One of [`~escoita.space.texts.LANGUAGES`].
        """
        text = _text(self.text_key, self.values, language)
        return text if self.path is None else f"{visible(str(self.path))}: {text}"


class RecordingRefusal(Refusal, AudioError):
    """Refuse a recording; `path` is its file name."""


class ShareRefusal(Refusal, ShareError):
    """Refuse a request of a client that sends too many."""


def refusal(error: EscoitaError, language: str) -> str:
    """
    Return the message of an error; English if the page has no text for it.

    Args:
        error (`EscoitaError`): The error.
        language (`str`): The language of the visitor.
    """
    return error.translated(language) if isinstance(error, Refusal) else str(error)


@contextmanager
def translatable(settings: Space) -> Iterator[None]:
    """
    Replace errors of a recording by refusals, which name the file without its folder.

    Args:
        settings ([`~escoita.recipe.schema.Space`]): The limits of the page.

    Raises:
        AudioError: The recording cannot be used; a [`RecordingRefusal`] if the page has a text for the reason.
        Refusal: The device has too little memory for the recording.
    """
    try:
        yield
    except Refusal:
        raise
    except AudioError as error:
        name = Path(str(error.path)).name
        if isinstance(error, AudioLimitError):
            if error.max_seconds is None:
                raise RecordingRefusal("samples", path=name) from error
            raise RecordingRefusal("minutes", path=name, time=settings.max_minutes * 60) from error
        if (found := AUDIO_ERRORS.get(type(error))) is not None:
            raise RecordingRefusal(found, path=name) from error
        for key, pattern in AUDIO_PROBLEMS:
            if pattern.search(error.problem):
                values = {"seconds": SHORTEST_SECONDS} if key == "too_short" else {}
                raise RecordingRefusal(key, path=name, **values) from error
        raise AudioError(error.problem, path=name, hint=error.hint) from error
    except EscoitaError as error:
        if OUT_OF_MEMORY in error.problem:
            raise Refusal("memory") from error
        raise


def _text(key: str, values: dict[str, Any], language: str) -> str:
    if "time" in values:
        values = {**values, "time": format_time(values["time"], language)}
    return translate(f"refusal.{key}", language, **values)
