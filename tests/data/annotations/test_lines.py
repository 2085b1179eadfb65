"""Check the formats with one segment or word per line: Audacity, STM and CTM."""

from pathlib import Path

import pytest

from escoita.data.annotations import read_segments
from escoita.data.annotations.audacity import begins
from escoita.data.annotations.base import AnnotationError
from tests.data.annotations.samples import CTM, LABELS, STM, write


def test_labels_may_have_decimal_commas_and_frequencies(tmp_path: Path) -> None:
    segments = read_segments(write(tmp_path / "a.txt", LABELS))
    assert [each[1:4] for each in segments] == [(1, 2.5, "bo día"), (3, 4, "")]
    assert [each.row for each in segments] == [1, 3]
    assert not begins("bo día".encode()) and begins(LABELS.encode("utf-16"))


def test_stm_segments_that_are_not_scored_are_empty(tmp_path: Path) -> None:
    segments = read_segments(write(tmp_path / "a.stm", STM))
    assert [each[:6] for each in segments] == [("talk", 1, 2.5, "bo día", "", "ana"), ("talk", 2.5, 3, "", "", "x")]


def test_ctm_words_are_joined_up_to_pauses(tmp_path: Path) -> None:
    segments = read_segments(write(tmp_path / "a.ctm", CTM))
    assert [each[:4] for each in segments] == [("talk", 1, 2.5, "bo día"), ("talk", 9, 9.5, "ata")]


@pytest.mark.parametrize("name, line", [("a.stm", "talk 1 ana 1"), ("a.ctm", "talk 1 1.0 x bo"), ("a.ctm", "talk 1")])
def test_malformed_lines_are_named(name: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError) as caught:
        read_segments(write(tmp_path / name, f";; comment\n{line}\n"))
    assert caught.value.row == 2
