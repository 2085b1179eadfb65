"""Read label tracks of Audacity: start, end and text of each label, separated by tabs."""

import re
from pathlib import Path

from escoita.data.annotations.base import AnnotationError, Segment, seconds
from escoita.data.encodings import encoding_of, read_lines


_LABEL = re.compile(r"(\d+[.,]?\d*)\t(\d+[.,]?\d*)(?:\t(.*))?")
# The second line of a label with a range of frequencies.
_FREQUENCIES = re.compile(r"\\\t.*")


def begins(start: bytes) -> bool:
    """Return whether a text file begins with a label of a label track."""
    try:
        lines = start.decode(encoding_of(start[: len(start) & ~1]), errors="replace").splitlines()
    except ValueError:
        return False
    return bool(lines and _LABEL.fullmatch(lines[0]))


def read(path: Path, language: str | None = None) -> list[Segment]:
    """
    Read the labels of a label track.

    Args:
        path (`Path`): The file.
        language (`str`, *optional*): The language of the text, which decides between old encodings.

    Raises:
        AnnotationError: A line is not a label.
        CorpusError: The file cannot be read.
    """
    segments = []
    for row, line in enumerate(read_lines(path, language), start=1):
        if not line.strip() or _FREQUENCIES.fullmatch(line):
            continue
        label = _LABEL.fullmatch(line)
        if not label:
            raise AnnotationError("not a label: start, end and text, separated by tabs", path=path, row=row)
        start, end = seconds(path, label[1], row), seconds(path, label[2], row)
        segments.append(Segment("", start, end, (label[3] or "").strip(), row=row))
    return segments
