"""Represent a segment of a recording with its transcript, and check the segments of a file."""

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from escoita.errors import CorpusError
from escoita.utils.limits import RECORDING_SECONDS


# Segments of a file; ten hours of speech have about 20,000.
MOST_SEGMENTS = 1_000_000


class AnnotationError(CorpusError):
    """Report an annotation file that cannot be used."""


class Segment(NamedTuple):
    """
    Store a segment of a recording.

    Args:
        recording (`str`): The name of the recording as in the file, without folders; empty if the file names none.
        start (`float`): The start in seconds.
        end (`float`): The end in seconds.
        text (`str`): The transcript; it may be empty.
        tier (`str`, *optional*, defaults to `""`): The name of the tier; empty if the format has none.
        speaker (`str`, *optional*, defaults to `""`): The speaker, if the file names one.
        kind (`str`, *optional*, defaults to `""`): The type of the tier, which the tiers of all speakers share.
        row (`int`, *optional*, defaults to 0): The line of the file, or the number of the annotation, from 1.
    """

    recording: str
    start: float
    end: float
    text: str
    tier: str = ""
    speaker: str = ""
    kind: str = ""
    row: int = 0


def check_number(path: Path, number: int) -> None:
    """
    Limit the number of segments of a file.

    Args:
        path (`Path`): The file, for errors.
        number (`int`): The number of segments that were read so far.

    Raises:
        AnnotationError: There are too many segments.
    """
    if number > MOST_SEGMENTS:
        raise AnnotationError(f"more than {MOST_SEGMENTS:,} segments", path=path)


def checked_segments(path: Path, segments: list[Segment]) -> list[Segment]:
    """
    Return the segments of a file, after a check of their times and number.

    Args:
        path (`Path`): The file, for errors.
        segments (`list[Segment]`): The segments.

    Raises:
        AnnotationError: There are too many segments, or a time is not a number of seconds, or is negative.
    """
    check_number(path, len(segments))
    for segment in segments:
        if not 0 <= segment.start <= segment.end < RECORDING_SECONDS:
            times = f"{segment.start:g} to {segment.end:g}"
            raise AnnotationError("not the times of a segment", path=path, row=segment.row or None, value=times)
    return segments


def seconds(path: Path, text: str, row: int | None = None) -> float:
    """
    Return a time in seconds; a comma may separate the decimals.

    Raises:
        AnnotationError: The text is not a number.
    """
    try:
        return float(text.replace(",", "."))
    except ValueError as error:
        raise AnnotationError("not a time in seconds", path=path, row=row, value=text[:40]) from error


def recording_name(location: str) -> str:
    """Return the name of a recording without its folders, which are those of another machine, or are hostile."""
    return PurePosixPath(unquote(location).replace("\\", "/").split("?")[0]).name


def tier_speaker(tier: str) -> tuple[str, str]:
    """
    Return the type and the speaker that a name of a tier states, as in `utterance@A`, `A_transcription` or `tx@A`.

    Args:
        tier (`str`): The name of the tier.

    Returns:
        `tuple[str, str]`: The type and the speaker; the name and an empty speaker if it states none.
    """
    kind, at, speaker = tier.partition("@")
    if at and kind and speaker:
        return kind.strip(), speaker.strip()
    words = re.split(r"\s*[-_:.]\s*", tier, maxsplit=1)
    for kind, speaker in (words, words[::-1]) if len(words) == 2 else ():
        if TRANSCRIPTION.search(kind) and speaker:
            return kind, speaker
    return tier, ""


# Parts of names of tiers that hold transcripts, in the languages of documentation projects.
TRANSCRIPTION = re.compile(
    r"transcri|transkri|trascri|utter|ortho|orto|sentence|phrase|frase|speech|text|(^|[^a-z])(tx|ut|utt)($|[^a-z])"
    r"|транскри|текст|фраза",
    re.IGNORECASE,
)
