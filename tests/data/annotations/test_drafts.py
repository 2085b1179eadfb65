"""Compare drafts with corrections, and read records of drafts that are damaged or hostile."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.annotations.base import Segment
from escoita.data.annotations.drafts import DRAFTS, Draft, Placed, Times, add_drafts, compare_drafts, read_drafts
from escoita.errors import CorpusError


def draft(start: float, text: str, tier: str = "draft-1", number: int = 1) -> Draft:
    return Draft(
        round=number, model="m", file="a.eaf", recording="a.wav", tier=tier, start=start, end=start + 1, text=text
    )


def placed(start: float, text: str, tier: str = "draft-1", speaker: str = "", recording: str = "a.wav") -> Placed:
    return Placed(recording, Segment("", start, start + 1, text, tier, speaker))


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    add_drafts(tmp_path, [draft(0, "ñ \u2028")])
    add_drafts(tmp_path, [draft(1, "dous", number=2)])
    assert read_drafts(tmp_path) == [draft(0, "ñ \u2028"), draft(1, "dous", number=2)]


@pytest.mark.parametrize("line", ['{"round": 1}', "[]", "x", '{"round": 1e999}', "[" * 5000])
def test_a_damaged_record_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    add_drafts(tmp_path, [draft(0, "un")])
    with (tmp_path / DRAFTS).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(CorpusError) as caught:
        read_drafts(tmp_path)
    assert (caught.value.path, caught.value.row) == (tmp_path / DRAFTS, 2)


def test_rounds_count_changes_and_edits() -> None:
    drafts = [draft(0, "un dous"), draft(2, "tres"), draft(4, "catro"), draft(6, "cinco", number=2)]
    present = [placed(0, "un tres"), placed(2, "tres"), placed(6, "seis", recording="b.wav")]
    (first, second), unchanged, replaced = compare_drafts(drafts, present, [], reviewed=False)
    assert (first.segments, first.changed, first.unchanged, first.removed) == (3, 1, 1, 1)
    assert (first.words, first.word_edits, first.characters) == (2, 1, 7)
    assert (second.removed, second.words) == (1, 0)
    assert unchanged == {1} and not replaced
    (first, _), _, _ = compare_drafts(drafts, present, [], reviewed=True)
    assert (first.words, first.word_edits) == (3, 1)


def test_a_segment_that_was_split_is_compared_as_a_whole() -> None:
    halves = [
        Placed("a.wav", Segment("", 0.0, 0.5, "un", "draft-1")),
        Placed("a.wav", Segment("", 0.5, 1.0, "dous", "draft-1")),
    ]
    (first,), unchanged, _ = compare_drafts([draft(0, "un dous")], halves, [], reviewed=False)
    assert first.unchanged == 1 and unchanged == {0, 1}


def test_segments_of_another_speaker_do_not_replace_a_draft() -> None:
    drafts, present = [draft(0, "un", "draft-1@Ana")], [placed(0, "un", "draft-1@Ana", "Ana")]
    for speaker, expected in (("Ana", {0}), ("", {0}), ("Brais", set())):
        _, unchanged, replaced = compare_drafts(drafts, present, [placed(0, "dous", "tx", speaker)], reviewed=False)
        assert replaced == expected and unchanged == {0} - expected


SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda each: (each[0], sum(each))), max_size=12)


@given(spans=SPANS, start=st.integers(0, 40), length=st.integers(0, 40))
def test_times_finds_what_overlaps_in_order(spans: list[tuple[int, int]], start: int, length: int) -> None:
    found = Times(("a" if place % 2 else "b", *span) for place, span in enumerate(spans))
    own = [(begin, stop, place) for place, (begin, stop) in enumerate(spans) if place % 2]
    expected = [each for each in own if max(start, each[0]) < min(start + length, each[1])]
    assert found.overlapping("a", start, start + length) == sorted(expected)
