"""Read subtitles: SubRip (.srt) and WebVTT (.vtt)."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

from escoita.data.annotations.base import AnnotationError, Segment
from escoita.data.encodings import read_lines


_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s([^<>]*)>")
# Tags of HTML, and those of SubStation in braces, which editors write into SubRip too.
_TAG = re.compile(r"</?[A-Za-z0-9][^<>]*>|\{\\[^{}]*\}")


def read(path: Path, language: str | None = None) -> list[Segment]:
    """
    Read the cues of a file, without styles and positions; the speaker of a WebVTT cue is its voice (`<v Ana>`).

    Notes, styles, regions and names of cues are not text of a cue.

    Args:
        path (`Path`): The file.
        language (`str`, *optional*): The language of the text, which decides between old encodings.

    Raises:
        AnnotationError: The file has no cue, or a text cannot be read.
        CorpusError: The file cannot be read.
    """
    lines = read_lines(path, language)
    webvtt = lines[0].startswith("WEBVTT")
    segments = []
    for row, times, text in _cues(lines, webvtt):
        voice = _VOICE.search(text)
        try:
            text = " ".join(unescape(_TAG.sub("", text)).split())
        except ValueError as error:
            raise AnnotationError("a character reference with thousands of digits", path=path, row=row) from error
        segments.append(Segment("", *times, text, speaker=" ".join(voice[1].split()) if voice else "", row=row))
    if not segments and not webvtt:
        raise AnnotationError("contains no subtitle", path=path)
    return segments


def _cues(lines: list[str], webvtt: bool) -> Iterator[tuple[int, tuple[float, float], str]]:
    """Yield the line, the times and the text of each cue; the text of a SubRip cue may contain empty lines."""
    matches = [(index, match) for index, line in enumerate(lines) if (match := _TIMES.fullmatch(line))]
    ends = [*(index for index, _ in matches[1:]), len(lines)][: len(matches)]
    for (index, match), end in zip(matches, ends, strict=True):
        text = lines[index + 1 : end]
        if webvtt:
            text = text[: next((place for place, line in enumerate(text) if not line.strip()), len(text))]
        else:
            while text and not text[-1].strip():
                text.pop()
            if text and end < len(lines) and text[-1].strip().isdigit():
                text.pop()  # the number of the next cue
        parts = [int(part or 0) for part in match.groups()]
        parts[3], parts[7] = (int(match[place].ljust(3, "0")) for place in (4, 8))
        start, stop = (h * 3600 + m * 60 + s + ms / 1000 for h, m, s, ms in (parts[:4], parts[4:]))
        yield index + 1, (start, stop), "\n".join(text)
