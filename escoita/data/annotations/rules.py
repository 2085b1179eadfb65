"""Decide which segments become rows: overlapping speech, notes in brackets and empty segments, by counted rules."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from escoita.data.annotations.base import Segment


OverlapRule = Literal["drop", "keep"]
NoteRule = Literal["remove", "drop", "keep"]
# Segments may overlap by this many seconds: annotators set the ends of turns by hand.
TOLERANCE = 0.1
# Characters of a note at most: in a text of opening brackets, the search would take quadratic time.
_MOST = 200
_NOTE = re.compile(
    rf"\[[^\[\]]{{0,{_MOST}}}\]|<[^<>]{{0,{_MOST}}}>|\{{[^{{}}]{{0,{_MOST}}}\}}|\(\([^()]{{0,{_MOST}}}\)\)"
)
# Text in parentheses, which marks doubtful words as often as notes.
_DOUBTFUL = re.compile(rf"\([^()]{{0,{_MOST}}}\)")
# Speech that was not understood, as in CHAT and other conventions.
_UNINTELLIGIBLE = re.compile(r"(?<!\w)(?:xxx?|yyy|www)(?!\w)|\?\?\?+|\*\*\*+", re.IGNORECASE)

EMPTY = "empty"
ONLY_NOTES = "only a note in brackets"
UNINTELLIGIBLE = "speech that was not understood (xxx, ???, ***)"
DOUBTFUL = "words in parentheses, which may be doubtful"
NOTES = "a note in brackets"
OVERLAP = f"overlapping speech (over {TOLERANCE:g} s)"
UNCHANGED = "a draft that nobody changed"
NO_LENGTH = "no duration"
# Segments that overlap no others.
NO_SPEECH = (EMPTY, ONLY_NOTES, NO_LENGTH)


@dataclass(frozen=True)
class SegmentRules:
    """
    Store the rules for segments.

    Args:
        overlap (`str`, *optional*, defaults to `"drop"`): The rule for segments that overlap another one of the same
            recording by more than 0.1 seconds: `drop` leaves out both, `keep` uses both.
        notes (`str`, *optional*, defaults to `"remove"`): The rule for notes in brackets: `remove` removes those in
            `[]`, `<>`, `{}` and `(())`, and leaves out segments with words in parentheses; `drop` leaves out every
            segment with brackets; `keep` changes nothing.
        drafts_reviewed (`bool`, *optional*, defaults to `False`): Whether a person checked all drafts, so that
            unchanged ones are correct.
    """

    overlap: OverlapRule = "drop"
    notes: NoteRule = "remove"
    drafts_reviewed: bool = False


def apply_rules(segments: Sequence[Segment], rules: SegmentRules) -> list[Segment | str]:
    """
    Return each segment as it is used, or the reason why it is left out.

    Segments that are empty or contain only a note are no speech: they overlap nothing.

    Args:
        segments (`Sequence[Segment]`): The segments with transcripts, of all speakers of one recording.
        rules ([`SegmentRules`]): The rules.
    """
    found: list[Segment | str] = []
    spoken = []
    for index, segment in enumerate(segments):
        text, reason = _checked(segment, rules)
        found.append(reason or segment._replace(text=text))
        if reason not in NO_SPEECH:
            spoken.append(index)
    if rules.overlap == "drop":
        for place in overlaps([segments[index] for index in spoken]):
            found[spoken[place]] = OVERLAP
    return found


def _checked(segment: Segment, rules: SegmentRules) -> tuple[str, str]:
    """Return the text without notes, and the reason to leave the segment out or an empty string."""
    text = " ".join(segment.text.split())
    if segment.end <= segment.start:
        return text, NO_LENGTH
    if not any(map(str.isalnum, text)):
        return text, EMPTY
    if rules.notes == "keep":
        return text, ""
    plain = re.sub(r"\s+([.,;:!?…])", r"\1", " ".join(_NOTE.sub(" ", text).split()))
    outside = _DOUBTFUL.sub(" ", plain)
    if not any(map(str.isalnum, outside)):
        return text, ONLY_NOTES
    if _UNINTELLIGIBLE.search(text):
        return text, UNINTELLIGIBLE
    if outside != plain:
        return text, DOUBTFUL
    return (text, NOTES) if plain != text and rules.notes == "drop" else (plain, "")


def overlaps(segments: Sequence[Segment], tolerance: float = TOLERANCE) -> set[int]:
    """
    Return the indices of segments that overlap another one by more than a tolerance.

    Args:
        segments (`Sequence[Segment]`): The segments of one recording.
        tolerance (`float`, *optional*): The accepted overlap in seconds.
    """
    found: set[int] = set()
    order = sorted(range(len(segments)), key=lambda index: segments[index].start)
    latest = None  # the segment that ends last so far
    for index in order:
        if latest is not None and segments[latest].end - segments[index].start > tolerance:
            # A segment shorter than the tolerance may lie within another one.
            found |= {latest, index}
        if latest is None or segments[index].end > segments[latest].end:
            latest = index
    return found
