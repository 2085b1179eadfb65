"""Write a transcript as plain text, subtitles and JSON."""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from escoita.records.transcript import Segment, Transcript
from escoita.utils.files import write_atomically


# An invisible character that prevents a player from reading text as a tag, a style or a time.
WORD_JOINER = "\u2060"
# The length of a file name in bytes; file systems allow 255, and a browser may append a number.
MAX_NAME_BYTES = 100
UNNAMED = "transcript"
# Names of devices on Windows, with any suffix.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
_MARKUP = re.compile(r"(?<=[<{])(?=[^\s])|(?<=--)(?=>)")
_UNSAFE = re.compile(r"[^\w .-]+")
# Lone surrogates cannot be encoded in UTF-8.
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def write_downloads(transcript: Transcript, folder: Path, recording: str) -> list[Path]:
    """
    Write a transcript in every format of `FORMATS`.

    Args:
        transcript ([`~escoita.records.transcript.Transcript`]): The transcript.
        folder (`Path`): The folder of the files; one for each transcript, because recordings of two visitors may have
            the same name.
        recording (`str`): The path of the recording, whose name the files get.

    Returns:
        `list[Path]`: One file for each format, in their order.
    """
    paths = []
    for suffix, format_transcript in FORMATS.items():
        paths.append(folder / f"{safe_stem(recording)}.{suffix}")
        write_atomically(paths[-1], format_transcript(transcript))
    return paths


def as_text(transcript: Transcript) -> str:
    """Return the text on one line; empty for an empty transcript."""
    line = _one_line(transcript.text)
    return f"{line}\n" if line else ""


def as_srt(transcript: Transcript) -> str:
    """
    Return SubRip subtitles.

    The format has no escapes: a word joiner is inserted if a player would read a tag, a style or a time.
    """
    cues = (
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_MARKUP.sub(WORD_JOINER, text)}\n"
        for number, (start, end, text) in enumerate(_cues(transcript), start=1)
    )
    return "\n".join(cues)


def as_vtt(transcript: Transcript) -> str:
    """Return WebVTT subtitles (https://www.w3.org/TR/webvtt1/), with `&`, `<` and `>` as entities."""
    cues = (
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text.translate(_ENTITIES)}\n"
        for start, end, text in _cues(transcript)
    )
    return "\n".join(["WEBVTT\n", *cues])


def as_json(transcript: Transcript) -> str:
    """Return all fields of [`Transcript`] as JSON, with times in seconds."""
    return json.dumps(asdict(transcript), ensure_ascii=False, indent=2).translate(_SURROGATES) + "\n"


FORMATS: dict[str, Callable[[Transcript], str]] = {"txt": as_text, "srt": as_srt, "vtt": as_vtt, "json": as_json}


def safe_stem(recording: str) -> str:
    """Return a file name without suffix that every system allows; letters of all scripts are preserved."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", recording)[-1])
    stem = _UNSAFE.sub("-", Path(name).stem.translate(_SURROGATES)).strip(" .-")
    stem = stem.encode()[:MAX_NAME_BYTES].decode(errors="ignore").rstrip(" .-")
    return f"{UNNAMED}-{stem}" if _DEVICES.fullmatch(stem.partition(".")[0].rstrip()) else stem or UNNAMED


def segments_of(transcript: Transcript) -> tuple[Segment, ...]:
    """Return the segments of a transcript, or the whole recording as one segment."""
    return transcript.segments or (Segment(0.0, transcript.audio_seconds, transcript.text),)


def _cues(transcript: Transcript) -> Iterator[tuple[int, int, str]]:
    """Yield the start and end in milliseconds, and the text, of every segment with text."""
    for segment in segments_of(transcript):
        if text := _one_line(segment.text):
            start = max(0, round(segment.start * 1000))
            # Both formats require an end after the start.
            yield start, max(round(segment.end * 1000), start + 1), text


def _one_line(text: str) -> str:
    """Return the text on one line, with a replacement character for each control character."""
    return " ".join("".join("\ufffd" if _unreadable(each) else each for each in text).split())


def _unreadable(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) in ("Cc", "Cs")


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"
