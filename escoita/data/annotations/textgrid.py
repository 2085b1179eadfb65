"""Read TextGrid files of Praat: long and short text files in any of its encodings."""

import re
from collections.abc import Iterator
from pathlib import Path

from escoita.data.annotations.base import (
    MOST_SEGMENTS,
    AnnotationError,
    Segment,
    check_number,
    seconds,
    tier_speaker,
)
from escoita.data.encodings import read_text


# Praat reads a text file as a sequence of numbers, quoted strings with doubled quotes inside, and flags such as
# <exists>, and skips everything else. So the long form, with its names of fields, equals the short one. Numbers stand
# alone: `[1]:` is not a number.
TOKEN = re.compile(r'"((?:[^"]++|"")*+)"|(?<!\S)(-?\d[\d.,eE+-]*)(?!\S)|(?<!\S)<(\w+)>|![^\n]*')


def read(path: Path, language: str | None = None) -> list[Segment]:
    """
    Read the intervals of all interval tiers, including those with an empty text; point tiers are skipped.

    The name of a tier may state a type and a speaker, as in `utterance@A`; else the speaker is empty.

    Args:
        path (`Path`): The file.
        language (`str`, *optional*): The language of the text, which decides between old encodings.

    Raises:
        AnnotationError: The file is not a TextGrid, or ends too early.
        CorpusError: The file cannot be read.
    """
    tokens = _Tokens(path, read_text(path, language))
    if tokens.text() != "ooTextFile" or tokens.text() != "TextGrid":
        raise AnnotationError("not a TextGrid in a text format", path=path)
    tokens.number(), tokens.number()
    segments: list[Segment] = []
    if tokens.flag() != "exists":
        return segments
    for _ in range(tokens.count()):
        interval_tier, name = tokens.text() == "IntervalTier", tokens.text()
        tokens.number(), tokens.number()
        kind, speaker = tier_speaker(name)
        for _ in range(tokens.count()):
            start = tokens.number()
            end = tokens.number() if interval_tier else start
            text = " ".join(tokens.text().split())
            if interval_tier:
                segments.append(Segment("", start, end, text, name, speaker, kind, len(segments) + 1))
                check_number(path, len(segments))
    return segments


class _Tokens:
    """Iterate over the tokens of a text file of Praat; each of a required type."""

    def __init__(self, path: Path, text: str):
        self.path = path
        self.found: Iterator[re.Match[str]] = (each for each in TOKEN.finditer(text) if each.lastindex)

    def _next(self, group: int, kind: str) -> str:
        match = next(self.found, None)
        if match is None or match.lastindex != group:
            found = "the end of the file" if match is None else match[0][:40]
            raise AnnotationError(f"{found} where a TextGrid has {kind}", path=self.path)
        return match[group]

    def text(self) -> str:
        return self._next(1, "a quoted text").replace('""', '"')

    def number(self) -> float:
        return seconds(self.path, self._next(2, "a number"))

    def count(self) -> int:
        if not (0 <= (number := self.number()) <= MOST_SEGMENTS):
            raise AnnotationError(
                f"at most {MOST_SEGMENTS:,} entries of a tier are read", path=self.path, value=number
            )
        return int(number)

    def flag(self) -> str:
        return self._next(3, "<exists>")
