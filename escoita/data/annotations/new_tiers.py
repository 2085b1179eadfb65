"""Represent a tier that is added to an annotation file, and the errors of files that do not allow it."""

from typing import NamedTuple

from escoita.data.annotations.base import AnnotationError


class NewSegment(NamedTuple):
    """
    Store a segment of a new tier.

    Args:
        start (`float`): The start in seconds.
        end (`float`): The end in seconds, after the start.
        text (`str`): The text, without control characters.
    """

    start: float
    end: float
    text: str


class NewTier(NamedTuple):
    """
    Store a tier that is added to a file.

    Args:
        name (`str`): The name, which no tier of the file has.
        segments (`list[NewSegment]`): The segments in their order, which do not overlap.
        speaker (`str`, *optional*, defaults to `""`): The speaker; empty if unknown.
    """

    name: str
    segments: list[NewSegment]
    speaker: str = ""


class NewTierError(AnnotationError):
    """Report a file to which a tier cannot be added without a change of its other content; `key` is the tier."""


def milliseconds(tier: NewTier) -> list[tuple[int, int, str]]:
    """Return the segments of a tier in milliseconds; each lasts at least one, and none overlaps the next."""
    found, before = [], 0
    for start, end, text in tier.segments:
        first = max(before, round(1000 * start))
        before = max(first + 1, round(1000 * end))
        found.append((first, before, text))
    return found
