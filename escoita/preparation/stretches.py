"""Find the stretches of a recording that are not transcribed yet."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from escoita.audio.loading import SAMPLING_RATE, seconds
from escoita.audio.segmentation import cut_segment, split_at_pauses
from escoita.audio.speech_detection import find_speech


# Stretches of speech with a shorter pause between them are one segment; a shorter one is no speech to transcribe.
PAUSE, SHORTEST = 0.5, 0.3
# Segments that people correct are easier to play if they are shorter than models take.
LONGEST = 12.0
# The time before and after speech that belongs to its segment.
_EDGE = 0.05


class Stretch(NamedTuple):
    """
    Store a stretch of a recording.

    Args:
        start (`float`): The start in seconds.
        end (`float`): The end in seconds.
        speaker (`str`, *optional*, defaults to `""`): The speaker, if an empty segment of a tier names one.
    """

    start: float
    end: float
    speaker: str = ""


def open_stretches(
    samples: np.ndarray, covered: Sequence[tuple[float, float]], longest: float = LONGEST
) -> list[Stretch]:
    """
    Return the stretches of speech that no segment covers.

    Args:
        samples (`np.ndarray`): The recording, of shape `(samples,)`, float32, 16 kHz.
        covered (`Sequence[tuple[float, float]]`): The start and end of each segment, in seconds.
        longest (`float`, *optional*, defaults to 12): The longest stretch, in seconds; longer speech is split at quiet
            positions.
    """
    joined: list[list[float]] = []
    taken = union(covered)
    for first, last in find_speech(samples):
        speech = (first / SAMPLING_RATE, last / SAMPLING_RATE)
        for start, end in outside(*speech, taken):
            # A short rest of speech that a segment covers is the inexact end of that segment.
            if (start, end) != speech and end - start < SHORTEST:
                continue
            between = joined and _any_between(joined[-1][1], start, taken)
            if joined and not between and start - joined[-1][1] <= PAUSE and end - joined[-1][0] <= longest:
                joined[-1][1] = end
            else:
                joined.append([start, end])
    found = []
    for start, end in joined:
        if end - start < SHORTEST:
            continue
        start, end = _widened(start, end, taken, seconds(samples))
        parts = split_at_pauses(cut_segment(samples, start, end), longest)
        found += [Stretch(start + first, min(end, start + last)) for first, last in parts]
    return found


def union(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the parts of a recording that intervals cover together, in order and without overlap."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def outside(start: float, end: float, taken: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the parts of an interval outside of a [`union`]."""
    parts = []
    for place in range(bisect_right(taken, start, key=itemgetter(1)), len(taken)):
        begin, stop = taken[place]
        if begin >= end:
            break
        if begin > start:
            parts.append((start, begin))
        start = max(start, stop)
    if start < end:
        parts.append((start, end))
    return parts


def _any_between(start: float, end: float, taken: Sequence[tuple[float, float]]) -> bool:
    """Return whether a part of a [`union`] lies between two times."""
    place = bisect_right(taken, start, key=itemgetter(1))
    return place < len(taken) and taken[place][0] < end


def _widened(start: float, end: float, taken: Sequence[tuple[float, float]], length: float) -> tuple[float, float]:
    """Return an interval with its edges, without a part of a [`union`]."""
    before, after = bisect_right(taken, start, key=itemgetter(1)), bisect_left(taken, end, key=itemgetter(0))
    first = taken[before - 1][1] if before else 0.0
    last = min(taken[after][0], length) if after < len(taken) else length
    return max(first, start - _EDGE), min(last, end + _EDGE)
