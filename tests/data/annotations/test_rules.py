"""Check the rules for overlapping speech, notes in brackets and empty segments."""

import random

import pytest

from escoita.data.annotations.base import Segment
from escoita.data.annotations.rules import (
    DOUBTFUL,
    EMPTY,
    NO_LENGTH,
    NOTES,
    ONLY_NOTES,
    OVERLAP,
    TOLERANCE,
    UNINTELLIGIBLE,
    NoteRule,
    SegmentRules,
    apply_rules,
    overlaps,
)


def segment(text: str, start: float = 0.0, end: float = 1.0, tier: str = "a") -> Segment:
    return Segment("", start, end, text, tier)


def outcome(text: str, notes: NoteRule = "remove") -> str:
    (found,) = apply_rules([segment(text)], SegmentRules(notes=notes))
    return found if isinstance(found, str) else f"= {found.text}"


@pytest.mark.parametrize(
    "text, removed, dropped, kept",
    [
        ("bo  día", "= bo día", "= bo día", "= bo día"),
        (" ", EMPTY, EMPTY, EMPTY),
        ("...", EMPTY, EMPTY, EMPTY),
        ("[riso]", ONLY_NOTES, ONLY_NOTES, "= [riso]"),
        ("(risas)", ONLY_NOTES, ONLY_NOTES, "= (risas)"),
        ("ola [riso] que tal", "= ola que tal", NOTES, "= ola [riso] que tal"),
        ("ola <riso>, que {tose} tal((pausa)).", "= ola, que tal.", NOTES, "= ola <riso>, que {tose} tal((pausa))."),
        ("ola (que) tal", DOUBTFUL, DOUBTFUL, "= ola (que) tal"),
        ("ola xxx", UNINTELLIGIBLE, UNINTELLIGIBLE, "= ola xxx"),
        ("ola [xxx] tal", UNINTELLIGIBLE, UNINTELLIGIBLE, "= ola [xxx] tal"),
        ("que??? di", UNINTELLIGIBLE, UNINTELLIGIBLE, "= que??? di"),
        ("xxl e que?", "= xxl e que?", "= xxl e que?", "= xxl e que?"),
    ],
)
def test_notes_in_brackets(text: str, removed: str, dropped: str, kept: str) -> None:
    assert [outcome(text, rule) for rule in ("remove", "drop", "keep")] == [removed, dropped, kept]


def test_a_segment_without_a_duration_is_left_out() -> None:
    assert apply_rules([segment("ola", 1.0, 1.0)], SegmentRules()) == [NO_LENGTH]


def test_both_overlapping_segments_are_left_out_unless_one_is_no_speech() -> None:
    talk = [
        segment("un", 0.0, 1.0),
        segment("dous", 0.8, 2.0, "b"),
        segment("tres", 2.0 - TOLERANCE / 2, 3.0),
        segment("[riso]", 2.5, 2.9, "b"),
        segment("", 2.0, 4.0, "b"),
        segment("xxx", 3.5, 4.0, "b"),
        segment("catro", 3.6, 4.5),
    ]
    found = apply_rules(talk, SegmentRules())
    assert found == [OVERLAP, OVERLAP, talk[2], ONLY_NOTES, EMPTY, OVERLAP, OVERLAP]
    kept = apply_rules(talk, SegmentRules(overlap="keep"))
    assert kept == [*talk[:3], ONLY_NOTES, EMPTY, UNINTELLIGIBLE, talk[6]]


def test_overlaps_are_those_of_a_comparison_of_all_pairs() -> None:
    draw = random.Random(1)  # noqa: S311  (not a secret)
    for _ in range(300):
        starts = [draw.randrange(0, 100) / 10 for _ in range(draw.randrange(1, 12))]
        talk = [segment("x", start, start + draw.randrange(2, 40) / 10) for start in starts]
        expected = {
            one
            for one, left in enumerate(talk)
            for two, right in enumerate(talk)
            if one != two and min(left.end, right.end) - max(left.start, right.start) > TOLERANCE
        }
        assert overlaps(talk) == expected


def test_long_runs_of_brackets_take_linear_time() -> None:
    assert outcome("[" * 50_000 + "a").startswith("= [")
