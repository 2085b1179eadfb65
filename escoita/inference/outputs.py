"""Write a transcript as text, subtitles, annotations for Praat and ELAN, a table, and JSON."""

import csv
import io
import json
import mimetypes
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from escoita.inference.alignment import Word
from escoita.inference.subtitles import Cue
from escoita.records.transcript import Transcript
from escoita.utils.formatting import time_code


# Not visible, and breaks up what a player would take for a tag, a style or a time.
WORD_JOINER = "\u2060"
_MARKUP = re.compile(r"(?<=[<{])(?=[^\s])|(?<=--)(?=>)")
# What a spreadsheet takes for the start of a formula, also in the full-width form of East Asian keyboards.
_FORMULA = re.compile(r"^(?=[=+@\-\uff1d\uff0b\uff20\uff0d])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_EAF_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
# A time in milliseconds: start, end, text.
Interval = tuple[int, int, str]


@dataclass(frozen=True)
class TranscribedFile:
    """
    Store what the outputs of a recording are made of.

    Args:
        media (`str`): Path of the recording, relative to the folder of the outputs, with `/` between its parts.
        transcript ([`~escoita.records.transcript.Transcript`]): Its transcript.
        words (`tuple[Word, ...]`): All words, with estimated times.
        cues (`tuple[Cue, ...]`): The words cut into subtitles.
        language (`str`): BCP 47 tag; empty if it is not known.
        word_timestamps (`bool`, *optional*, defaults to `False`): The JSON output holds the words.
    """

    media: str
    transcript: Transcript
    words: tuple[Word, ...]
    cues: tuple[Cue, ...]
    language: str = ""
    word_timestamps: bool = False


def as_txt(file: TranscribedFile) -> str:
    """Return the text on one line; an empty string if there are no words."""
    text = clean(file.transcript.text)
    return f"{text}\n" if text else ""


def as_srt(file: TranscribedFile) -> str:
    """
    Return SubRip subtitles.

    The format has no escapes: a word joiner is put where a player would see a tag, a style or a time.
    """
    return "\n".join(
        f"{number}\n{_times(start, end, ',')}\n{_MARKUP.sub(WORD_JOINER, text)}\n"
        for number, (start, end, text) in enumerate(_cue_intervals(file.cues), start=1)
    )


def as_vtt(file: TranscribedFile) -> str:
    """Return WebVTT subtitles (https://www.w3.org/TR/webvtt1/), with `&`, `<` and `>` as entities."""
    cues = (
        f"{_times(start, end, '.')}\n{text.translate(_ENTITIES)}\n" for start, end, text in _cue_intervals(file.cues)
    )
    return "\n".join(["WEBVTT\n", *cues])


def as_json(file: TranscribedFile) -> str:
    """
    Return JSON in the shape of `verbose_json` of OpenAI's transcription API.

    The field `speech_detector` of a recording that was cut into segments is additional.

    Fields that this model does not give are left out: `seek`, `tokens`, `avg_logprob` and `no_speech_prob` of a
    segment, and `usage`.
    """
    segments = [
        {
            "id": number,
            "start": start / 1000,
            "end": end / 1000,
            "text": text,
            "temperature": 0.0,  # decoding is greedy
            "compression_ratio": round(_compression_ratio(text), 3),
        }
        for number, (start, end, text) in enumerate(_spoken(file.cues))
    ]
    content = {
        "task": "transcribe",
        **({"language": file.language} if file.language else {}),
        "duration": round(file.transcript.audio_seconds, 3),
        "text": clean(file.transcript.text),
        "segments": segments,
        **({"speech_detector": file.transcript.speech_detector} if file.transcript.speech_detector else {}),
    }
    if file.word_timestamps:
        words = _milliseconds((word.start, word.end, word.text) for word in file.words)
        content["words"] = [{"word": text, "start": start / 1000, "end": end / 1000} for start, end, text in words]
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def as_csv(file: TranscribedFile) -> str:
    """
    Return a table with a row per cue: start and end in seconds, text; quoted as in RFC 4180.

    A word joiner is put before a text that a spreadsheet would compute as a formula.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["start", "end", "text"])
    for start, end, text in _spoken(file.cues):
        writer.writerow([f"{start / 1000:.3f}", f"{end / 1000:.3f}", _FORMULA.sub(WORD_JOINER, text)])
    return table.getvalue()


def as_textgrid(file: TranscribedFile) -> str:
    """Return a TextGrid of Praat with two tiers of intervals, `phrases` and `words`."""
    end = round(file.transcript.audio_seconds * 1000)
    tiers = {
        name: list(_filled(intervals, end))
        for name, intervals in (("phrases", _spoken(file.cues)), ("words", _word_intervals(file.words)))
    }
    end = max(end, *(tier[-1][1] for tier in tiers.values()))
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end / 1000}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, tier) in enumerate(tiers.items(), start=1):
        if tier[-1][1] < end:
            tier.append((tier[-1][1], end, ""))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {end / 1000}", f"        intervals: size = {len(tier)}"]
        for place, (first, last, text) in enumerate(tier, start=1):
            quoted = text.replace('"', '""')
            lines += [f"        intervals [{place}]:", f"            xmin = {first / 1000}"]
            lines += [f"            xmax = {last / 1000}", f'            text = "{quoted}"']
    return "\n".join(lines) + "\n"


def as_eaf(file: TranscribedFile) -> str:
    """Return an annotation file of ELAN with two tiers, `phrases` and `words`, that refers to the recording."""
    root = Element("ANNOTATION_DOCUMENT", AUTHOR="", DATE=datetime.now(UTC).isoformat(timespec="seconds"))
    root.attrib |= {"FORMAT": "3.0", "VERSION": "3.0", f"{{{_XSI}}}noNamespaceSchemaLocation": _EAF_SCHEMA}
    header = SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    address = quote(file.media, errors="replace")
    kind = "audio/x-wav" if address.lower().endswith(".wav") else mimetypes.guess_type(address)[0] or "audio/*"
    SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=address, RELATIVE_MEDIA_URL=f"./{address}", MIME_TYPE=kind)
    order = SubElement(root, "TIME_ORDER")
    number = 0
    for name, intervals in (("phrases", _spoken(file.cues)), ("words", _word_intervals(file.words))):
        tier = SubElement(root, "TIER", LINGUISTIC_TYPE_REF="default-lt", TIER_ID=name)
        for start, end, text in intervals:
            number += 1
            slots = f"ts{2 * number - 1}", f"ts{2 * number}"
            for slot, time in zip(slots, (start, end), strict=True):
                SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(time))
            annotation = SubElement(
                SubElement(tier, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                ANNOTATION_ID=f"a{number}",
                TIME_SLOT_REF1=slots[0],
                TIME_SLOT_REF2=slots[1],
            )
            SubElement(annotation, "ANNOTATION_VALUE").text = text
    SubElement(
        root, "LINGUISTIC_TYPE", GRAPHIC_REFERENCES="false", LINGUISTIC_TYPE_ID="default-lt", TIME_ALIGNABLE="true"
    )
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


FORMATS: dict[str, Callable[[TranscribedFile], str]] = {
    "txt": as_txt,
    "srt": as_srt,
    "vtt": as_vtt,
    "json": as_json,
    "textgrid": as_textgrid,
    "eaf": as_eaf,
    "csv": as_csv,
}
# Praat and its users write the ending so.
ENDINGS = {name: {"textgrid": "TextGrid"}.get(name, name) for name in FORMATS}


def clean(text: str) -> str:
    """
    Return a text on one line without what breaks a format: line ends, control characters and halves of characters.

    Args:
        text (`str`): Any text; each such character becomes U+FFFD.
    """
    return " ".join("".join("\ufffd" if _is_unreadable(each) else each for each in text).split())


def _is_unreadable(character: str) -> bool:
    # XML takes neither U+FFFE nor U+FFFF.
    return not character.isspace() and (unicodedata.category(character) in ("Cc", "Cs") or character in "\ufffe\uffff")


def _milliseconds(intervals: Iterable[tuple[float, float, str]]) -> Iterator[Interval]:
    """Yield intervals in milliseconds that do not overlap and are not empty, with clean texts."""
    before = 0
    for start, end, text in intervals:
        first = max(round(start * 1000), before)
        before = max(round(end * 1000), first + 1)
        yield first, before, clean(text)


def _cue_intervals(cues: Sequence[Cue]) -> Iterator[Interval]:
    """Yield the times at which cues are shown, with their lines; no line is empty, which would end a cue."""
    times = _milliseconds((cue.start, cue.end, "") for cue in cues)
    for (start, end, _), cue in zip(times, cues, strict=True):
        yield start, end, "\n".join(line for line in map(clean, cue.lines) if line)


def _spoken(cues: Sequence[Cue]) -> Iterator[Interval]:
    """Yield the times at which the words of cues were spoken, with their texts."""
    return _milliseconds((cue.words[0].start, cue.words[-1].end, cue.text) for cue in cues)


def _word_intervals(words: Sequence[Word]) -> Iterator[Interval]:
    return _milliseconds((word.start, word.end, word.text) for word in words)


def _filled(intervals: Iterable[Interval], end: int) -> Iterator[Interval]:
    """Yield intervals with empty ones between them, from 0 on; a single empty one if there are none."""
    before = 0
    for start, last, text in intervals:
        if start > before:
            yield before, start, ""
        yield start, last, text
        before = last
    if not before:
        yield 0, max(end, 1), ""


def _compression_ratio(text: str) -> float:
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))


def _times(start: int, end: int, point: str) -> str:
    return f"{time_code(start / 1000, point)} --> {time_code(end / 1000, point)}"
