import numpy as np
import pytest

from eval.bootstrap import interval


EDITS, REFERENCE = np.array([0, 1, 2, 0, 5, 1]), np.array([3, 4, 2, 6, 5, 10])


def test_the_same_seed_gives_the_same_interval() -> None:
    assert interval(EDITS, REFERENCE, 200) == interval(EDITS, REFERENCE, 200)
    assert interval(EDITS, REFERENCE, 200) != interval(EDITS, REFERENCE, 200, seed=1)


def test_the_interval_is_about_the_corpus_rate() -> None:
    low, high = interval(EDITS, REFERENCE, 500)
    assert 0 <= low < EDITS.sum() / REFERENCE.sum() < high <= 1


@pytest.mark.parametrize(
    "edits, reference, expected",
    [
        ([1, 1, 1], [4, 4, 4], (0.25, 0.25)),  # every draw is the same
        ([0, 0], [3, 5], (0.0, 0.0)),
        ([7], [2], (3.5, 3.5)),  # over 1: insertions
        ([0, 1], [1, 1], (0.0, 1.0)),  # draws of two: 0, 1/2 and 1, each end with 25 %
        ([2, 0], [0, 0], (0.0, 4.0)),  # no reference words: the edits themselves, as jiwer has it
    ],
)
def test_by_hand(edits: list[int], reference: list[int], expected: tuple[float, float]) -> None:
    assert interval(np.array(edits), np.array(reference), 1000) == expected


def test_utterances_are_drawn_with_their_words() -> None:
    # A long wrong utterance and a short right one: rates are 0, 9/10 and 1, never the mean of 0 and 1.
    low, high = interval(np.array([9, 0]), np.array([9, 1]), 1000)
    assert (low, high) == (0.0, 1.0)
    assert interval(np.array([9, 0]), np.array([9, 1]), 1, seed=3)[0] in (0.0, 0.9, 1.0)


def test_more_utterances_give_a_narrower_interval() -> None:
    few = interval(EDITS, REFERENCE, 300)
    many = interval(np.tile(EDITS, 50), np.tile(REFERENCE, 50), 300)
    assert many[1] - many[0] < (few[1] - few[0]) / 3
