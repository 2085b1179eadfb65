"""Read segments with transcripts from the files of annotation tools, one module for each format."""

from collections.abc import Callable
from pathlib import Path

from escoita.data.annotations import audacity, ctm, elan, label_studio, stm, subtitles, textgrid
from escoita.data.annotations.base import AnnotationError, Segment, checked_segments


__all__ = ["READERS", "AnnotationError", "Segment", "format_of", "read_segments"]

# The reader of each format; it takes the file and the language of its text.
READERS: dict[str, Callable[[Path, str | None], list[Segment]]] = {
    "elan": elan.read,
    "textgrid": textgrid.read,
    "subtitles": subtitles.read,
    "audacity": audacity.read,
    "label_studio": label_studio.read,
    "ctm": ctm.read,
    "stm": stm.read,
}
_BY_SUFFIX = {
    ".eaf": "elan",
    ".textgrid": "textgrid",
    ".srt": "subtitles",
    ".vtt": "subtitles",
    ".ctm": "ctm",
    ".stm": "stm",
}
_START = 4096


def format_of(path: Path) -> str | None:
    """
    Return the format of an annotation file, one of `READERS`, by its suffix, or by its start if it ends with .txt or
    .json; `None` if it is another file.

    Args:
        path (`Path`): The file.
    """
    suffix = path.suffix.lower()
    if suffix in (".txt", ".json"):
        try:
            with path.open("rb") as file:
                start = file.read(_START)
        except OSError:
            return None
        if suffix == ".txt":
            return "audacity" if audacity.begins(start) else None
        return "label_studio" if label_studio.begins(start) else None
    return _BY_SUFFIX.get(suffix)


def read_segments(path: Path, language: str | None = None) -> list[Segment]:
    """
    Read the segments of an annotation file, in the order of the file.

    Args:
        path (`Path`): The file, in one of the formats of `READERS`.
        language (`str`, *optional*): The language of the text, which decides between old encodings.

    Returns:
        `list[Segment]`: All segments, including those with an empty text.

    Raises:
        AnnotationError: The file is damaged, or in none of these formats.
        CorpusError: The file cannot be read.
        RecordError: The file is too large.
    """
    name = format_of(path)
    if name is None:
        raise AnnotationError("not an annotation file of a known format", path=path)
    return checked_segments(path, READERS[name](path, language))
