"""
Align the words of a transcript with the frame-wise probabilities of a CTC model, by the Viterbi algorithm.

The states are those of CTC (Graves et al. 2006): the letters of each word, with blanks between them. Between words
stands a state for pauses and for speech without text: it takes the blank, the delimiter of words, or any letter at a
cost in each frame. So speech that the transcript does not contain is not pressed into its words.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np


# The cost of a frame of speech without text, in nats: a word is aligned unless its letters are much less probable than
# the best ones.
OTHER_COST = 1.5
# Frames whose decisions are in memory together; others are computed again from the scores that are kept.
_BLOCK = 512
# States that are searched around the best one, chosen again for each block: the text of about two minutes before and
# after it. A path of 512 frames advances by 1024 states at most.
_SEARCHED = 4096


class WordSpan(NamedTuple):
    """
    Store the place of a word.

    Args:
        start (`int`): The first frame of its first letter.
        end (`int`): The frame after its last letter.
        score (`float`): The mean over its letters of the highest log-probability in their frames, in nats.
        other (`int`): The number of frames with speech without text before the word.
    """

    start: int
    end: int
    score: float
    other: int


class Alignment(NamedTuple):
    """
    Store the places of all words.

    Args:
        words (`list[WordSpan]`): The words in order.
        other (`int`): The number of frames with speech without text after the last word.
        start (`int`): The first frame of speech, with or without text.
        end (`int`): The frame after the last one of speech, with or without text.
    """

    words: list[WordSpan]
    other: int
    start: int
    end: int


def align_letters(
    log_probabilities: np.ndarray, words: Sequence[Sequence[int]], blank: int, delimiter: int | None = None
) -> Alignment | None:
    """
    Return the most probable places of words in order, or `None` if there are too few frames for their letters.

    Args:
        log_probabilities (`np.ndarray`): The log-probabilities, of shape `(frames, letters)`.
        words (`Sequence[Sequence[int]]`): The letters of each word, at least one.
        blank (`int`): The blank.
        delimiter (`int`, *optional*): The letter between words, if the model has one.
    """
    letters = log_probabilities.shape[1]
    pause = log_probabilities[:, blank]
    if delimiter is not None:
        pause = np.maximum(pause, log_probabilities[:, delimiter])
    others = np.delete(log_probabilities, [blank, *([] if delimiter is None else [delimiter])], axis=1)
    other = others.max(axis=1) - OTHER_COST
    between = letters  # the column of the state between words
    columns = np.column_stack([log_probabilities, np.maximum(pause, other)]).astype(np.float32)
    labels = [between]
    owner = [-1]  # the word of each state of a letter
    for number, word in enumerate(words):
        for place, letter in enumerate(word):
            labels += ([blank] if place else []) + [letter]
            owner += ([-1] if place else []) + [number]
        labels.append(between)
        owner.append(-1)
    path = best_path(columns, np.array(labels))
    if path is None:
        return None
    spoken_other = (np.array(labels)[path] == between) & (other > pause)
    letter_frames = np.flatnonzero(np.array(owner)[path] >= 0)
    words_of_frames = np.array(owner)[path[letter_frames]]
    bounds = np.searchsorted(words_of_frames, np.arange(len(words) + 1))  # words follow one another
    spans, before = [], 0
    for first, last in pairwise(bounds):
        taken = letter_frames[first:last]
        best = [columns[taken[path[taken] == state], labels[state]].max() for state in np.unique(path[taken])]
        start, end = int(taken[0]), int(taken[-1]) + 1
        spans.append(WordSpan(start, end, float(np.mean(best)), int(spoken_other[before:start].sum())))
        before = end
    frames = np.flatnonzero(spoken_other)
    start, end = (int(frames[0]), int(frames[-1]) + 1) if len(frames) else (spans[0].start, before)
    return Alignment(spans, int(spoken_other[before:].sum()), min(start, spans[0].start), max(end, before))


def best_path(columns: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """
    Return the most probable state in each frame, or `None` if the states need more frames, or are not reached within
    the states that are searched.

    A path begins in one of the first two states and ends in one of the last two. It stays, goes to the next state, or
    skips a state between two different letters. States at odd places are letters.

    Args:
        columns (`np.ndarray`): The log-probabilities, of shape `(frames, letters)`.
        labels (`np.ndarray`): The letter of each state, of shape `(states,)`; there are at least three.
    """
    frames, states = len(columns), len(labels)
    skips = np.zeros(states, bool)
    skips[3::2] = labels[3::2] != labels[1:-2:2]
    width = min(states, 2 * _SEARCHED)
    low, scores = 0, np.full(width, -np.inf, np.float32)
    scores[:2] = columns[0, labels[:2]]
    kept: list[tuple[int, np.ndarray]] = []
    for frame in range(1, frames):
        if (frame - 1) % _BLOCK == 0:
            shift = min(max(int(scores.argmax()) - _SEARCHED, 0), states - width - low)
            scores = np.concatenate([scores[shift:], np.full(shift, -np.inf, np.float32)])
            low += shift
            kept.append((low, scores))
        scores, _ = _step(scores, columns[frame, labels[low : low + width]], skips[low : low + width])
    if low + width < states or not np.isfinite(scores[-2:].max()):
        return None
    state = states - 1 if scores[-1] >= scores[-2] else states - 2
    path = np.empty(frames, np.int64)
    for first in range(len(kept) - 1, -1, -1):
        low, scores = kept[first]
        window, moves = slice(low, low + width), []
        block = range(first * _BLOCK + 1, min(frames, (first + 1) * _BLOCK + 1))
        for frame in block:
            scores, move = _step(scores, columns[frame, labels[window]], skips[window])
            moves.append(move)
        for frame, move in zip(reversed(block), reversed(moves), strict=True):
            path[frame] = state
            state -= int(move[state - low])
    path[0] = state
    return path


def _step(scores: np.ndarray, emission: np.ndarray, skips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best score of each state after a frame, and the number of states that its path went on."""
    best, moves = scores.copy(), np.zeros(len(scores), np.uint8)
    for distance in (1, 2):
        better = scores[:-distance] > best[distance:]
        if distance == 2:
            better &= skips[2:]
        np.copyto(best[distance:], scores[:-distance], where=better)
        np.copyto(moves[distance:], distance, where=better)
    best += emission
    # Scores stay small, so that single precision suffices for hours.
    return best - best.max(), moves
