"""Compare the alignment with a search over all paths, and with known places of words."""

import itertools
import math

import numpy as np
import pytest

from escoita.inference import ctc_alignment
from escoita.inference.ctc_alignment import align_letters, best_path


def random_log_probabilities(frames: int, letters: int, seed: int) -> np.ndarray:
    logits = 2 * np.random.default_rng(seed).standard_normal((frames, letters))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def best_of_all_paths(columns: np.ndarray, labels: np.ndarray) -> tuple[float, list[int]]:
    """Return the score and the states of the best path, from all paths."""
    frames, states = len(columns), len(labels)
    found: tuple[float, list[int]] = (-math.inf, [])
    for first in (0, 1):
        for moves in itertools.product((0, 1, 2), repeat=frames - 1):
            path = [first, *(first + each for each in itertools.accumulate(moves))]
            if path[-1] not in (states - 2, states - 1):
                continue
            if any(
                move == 2 and (state % 2 == 0 or labels[state] == labels[state - 2])
                for move, state in zip(moves, path[1:], strict=True)
            ):
                continue
            score = sum(columns[frame, labels[state]] for frame, state in enumerate(path))
            found = max(found, (float(score), path))
    return found


@pytest.mark.parametrize("block", [2, 3, 512])
@pytest.mark.parametrize("seed", range(6))
def test_the_path_is_the_best_of_all_paths(seed: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctc_alignment, "_BLOCK", block)
    columns = random_log_probabilities(7, 4, seed).astype(np.float32)
    labels = np.array([[0, 1, 0, 2, 0], [0, 1, 0, 1, 0], [0, 3, 0, 3, 3, 2, 0]][seed % 3])
    if len(labels) == 7:
        labels = np.array([0, 3, 0, 3, 0, 2, 0])
    score, path = best_of_all_paths(columns, labels)
    found = best_path(columns, labels)
    assert found is not None and found.tolist() == path
    assert sum(columns[frame, labels[state]] for frame, state in enumerate(found)) == pytest.approx(score, abs=1e-5)


def test_too_few_frames_for_the_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = random_log_probabilities(3, 4, 0)
    assert align_letters(columns, [[1, 1, 2]], blank=0) is None
    assert align_letters(columns, [[1, 2, 1]], blank=0) is not None
    assert align_letters(columns[:1], [[1]], blank=0) is not None


BLANK, DELIMITER = 0, 1


def frames_of(parts: list[tuple[str, int]], sure: float = 0.97, letters: int = 8) -> np.ndarray:
    """Return log-probabilities of letters, each for a number of frames; `_` is the blank, `|` the delimiter."""
    rows = []
    for letter, frames in parts:
        index = {"_": BLANK, "|": DELIMITER}.get(letter, ord(letter) - ord("a") + 2)
        row = np.full(letters, (1 - sure) / (letters - 1))
        row[index] = sure
        rows += [row] * frames
    return np.log(np.array(rows))


def words(text: str) -> list[list[int]]:
    return [[ord(letter) - ord("a") + 2 for letter in word] for word in text.split()]


def test_words_have_their_places_and_scores() -> None:
    rows = frames_of([("_", 10), ("a", 2), ("_", 3), ("b", 1), ("|", 5), ("_", 20), ("b", 1), ("b", 2), ("_", 4)])
    found = align_letters(rows, words("ab b"), BLANK, DELIMITER)
    assert found is not None and found.other == 0
    assert [(each.start, each.end, each.other) for each in found.words] == [(10, 16, 0), (41, 44, 0)]
    assert [each.score for each in found.words] == [pytest.approx(math.log(0.97), abs=1e-4)] * 2


def test_speech_without_text_is_not_assigned_to_words() -> None:
    other = [("cdef"[index % 4], 2) for index in range(20)]
    rows = frames_of([("_", 5), ("a", 2), ("b", 2), ("_", 5), *other, ("a", 2)])
    found = align_letters(rows, words("ab a"), BLANK, DELIMITER)
    assert found is not None
    assert [(each.start, each.end) for each in found.words] == [(5, 9), (54, 56)]
    assert found.words[1].other == 40 and found.words[0].other == 0


def test_text_without_speech_has_a_low_score() -> None:
    rows = frames_of([("_", 5), ("a", 2), ("b", 2), ("_", 9), ("c", 2), ("d", 2), ("_", 5)])
    found = align_letters(rows, words("ab ef cd"), BLANK, DELIMITER)
    assert found is not None
    assert [each.score > -0.1 for each in found.words] == [True, False, True]
    assert found.words[1].score < -3


def test_long_alignments_equal_those_of_single_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    text = [[int(letter) for letter in draw.integers(2, 8, draw.integers(1, 6))] for _ in range(60)]
    columns = random_log_probabilities(1500, 8, 4)
    found = align_letters(columns, text, BLANK, DELIMITER)
    monkeypatch.setattr(ctc_alignment, "_BLOCK", 10_000)
    assert found == align_letters(columns, text, BLANK, DELIMITER)


def test_a_search_among_few_states_finds_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(5)
    text = " ".join("".join(draw.choice(list("abcdef"), draw.integers(2, 6))) for _ in range(80))
    parts = [("_", 30), *((letter if letter != " " else "|", 1 + int(draw.integers(4))) for letter in text), ("_", 90)]
    rows = frames_of([each for letter in parts for each in (letter, ("_", 1))])
    exact = align_letters(rows, words(text), BLANK, DELIMITER)
    monkeypatch.setattr(ctc_alignment, "_BLOCK", 16)
    monkeypatch.setattr(ctc_alignment, "_SEARCHED", 80)
    assert exact is not None and min(word.score for word in exact.words) > -0.1
    assert align_letters(rows, words(text), BLANK, DELIMITER) == exact
