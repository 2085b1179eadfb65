"""A transcript as files: plain text, subtitles, and JSON for programs."""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from escoita.records.transcript import Segment, Transcript
from escoita.utils.files import write_atomically


# Not seen, and breaks up what a player would take for a tag, a style or a time.
WORD_JOINER = "\u2060"
# Of a file name, in bytes; file systems take 255, and a browser may put a number behind it.
LONGEST_NAME = 100
UNNAMED = "transcript"
# On Windows these are devices, whatever their ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
_MARKUP = re.compile(r"(?<=[<{])(?=[^\s])|(?<=--)(?=>)")
_UNSAFE = re.compile(r"[^\w .-]+")
# Half a character cannot be written to a file.
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def write_downloads(transcript: Transcript, folder: Path, recording: str) -> list[Path]:
    """
    Writes a transcript in every format of `FORMATS`.

    Args:
        transcript ([`~escoita.records.transcript.Transcript`]): What was heard.
        folder (`Path`): Where; one for each transcript, as recordings of two visitors may have the same name.
        recording (`str`): The file that was heard, after which the files are named; its folder is left out.

    Returns:
        `list[Path]`: One file for each format, in their order.
    """
    paths = []
    for ending, written in FORMATS.items():
        paths.append(folder / f"{safe_stem(recording)}.{ending}")
        write_atomically(paths[-1], written(transcript))
    return paths


def as_text(transcript: Transcript) -> str:
    """The words alone, on one line; nothing where nothing was heard."""
    words = _one_line(transcript.text)
    return f"{words}\n" if words else ""


def as_srt(transcript: Transcript) -> str:
    """
    SubRip subtitles. The format knows no escapes: a word joiner is put where a player would see a tag, a style or a
    time, so that the text reads as it was heard.
    """
    cues = (
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_MARKUP.sub(WORD_JOINER, text)}\n"
        for number, (start, end, text) in enumerate(_cues(transcript), start=1)
    )
    return "\n".join(cues)


def as_vtt(transcript: Transcript) -> str:
    """Subtitles as browsers read them (https://www.w3.org/TR/webvtt1/), with `&`, `<` and `>` as entities."""
    cues = (
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text.translate(_ENTITIES)}\n"
        for start, end, text in _cues(transcript)
    )
    return "\n".join(["WEBVTT\n", *cues])


def as_json(transcript: Transcript) -> str:
    """All fields of [`Transcript`] under their names: texts as they are, times in seconds."""
    return json.dumps(asdict(transcript), ensure_ascii=False, indent=2).translate(_SURROGATES) + "\n"


FORMATS: dict[str, Callable[[Transcript], str]] = {"txt": as_text, "srt": as_srt, "vtt": as_vtt, "json": as_json}


def safe_stem(recording: str) -> str:
    """What a file may be called on every system, after the recording; letters of any script stay."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", recording)[-1])
    stem = _UNSAFE.sub("-", Path(name).stem.translate(_SURROGATES)).strip(" .-")
    stem = stem.encode()[:LONGEST_NAME].decode(errors="ignore").rstrip(" .-")
    return f"{UNNAMED}-{stem}" if _DEVICES.fullmatch(stem.partition(".")[0].rstrip()) else stem or UNNAMED


def segments_of(transcript: Transcript) -> tuple[Segment, ...]:
    """The segments; the whole recording as one where a transcript names none."""
    return transcript.segments or (Segment(0.0, transcript.audio_seconds, transcript.text),)


def _cues(transcript: Transcript) -> Iterator[tuple[int, int, str]]:
    """Start and end in milliseconds, and text, of every segment in which words were heard."""
    for segment in segments_of(transcript):
        if text := _one_line(segment.text):
            start = max(0, round(segment.start * 1000))
            # Both formats want an end that is later.
            yield start, max(round(segment.end * 1000), start + 1), text


def _one_line(text: str) -> str:
    """An empty line would end a subtitle; control characters are shown as what nobody can read."""
    return " ".join("".join("\ufffd" if _unreadable(each) else each for each in text).split())


def _unreadable(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) in ("Cc", "Cs")


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"
