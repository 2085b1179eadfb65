"""Find speech that no segment covers."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.audio.loading import SAMPLING_RATE, read_audio
from escoita.preparation.stretches import open_stretches, outside, union
from tests.preparation.speech import write_talk


def test_stretches_lie_in_speech_outside_of_segments(tmp_path: Path) -> None:
    times = write_talk(tmp_path / "talk.wav", 4)
    samples = read_audio(tmp_path / "talk.wav")
    everything = open_stretches(samples, [])
    assert [any(start - 0.1 <= each.start < end for each in everything) for start, end in times] == [True] * 4
    found = open_stretches(samples, times[1:3])
    for each in found:
        assert all(min(each.end, end) <= max(each.start, start) for start, end in times[1:3])
    assert {int(each.start > times[1][0]) for each in found} == {0, 1}
    assert open_stretches(samples, [(0.0, len(samples) / SAMPLING_RATE)]) == []


def test_inexact_ends_of_segments_are_no_stretches(tmp_path: Path) -> None:
    times = write_talk(tmp_path / "talk.wav", 4)
    samples = read_audio(tmp_path / "talk.wav")
    late = [(start + 0.02, end - 0.02) for start, end in times]
    assert (
        open_stretches(samples, [(start - 0.1, end + 0.1) for start, end in times])
        == open_stretches(samples, late)
        == []
    )


def test_long_speech_is_split(tmp_path: Path) -> None:
    times = write_talk(tmp_path / "talk.wav", 1)
    samples = read_audio(tmp_path / "talk.wav")
    speech = samples[round(times[0][0] * SAMPLING_RATE) : round(times[0][1] * SAMPLING_RATE)]
    quiet = np.zeros(SAMPLING_RATE, np.float32)
    long = np.concatenate([quiet, np.tile(speech, 40), quiet])
    found = open_stretches(long, [], 5.0)
    assert len(found) > 1 and all(0.0 < each.end - each.start <= 5.2 for each in found)
    assert sum(each.end - each.start for each in found) == pytest.approx(len(speech) * 40 / SAMPLING_RATE, rel=0.2)


def test_silence_has_no_stretch() -> None:
    assert open_stretches(np.zeros(3 * SAMPLING_RATE, np.float32), []) == []


INTERVAL = st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda each: (each[0], sum(each)))


@given(intervals=st.lists(INTERVAL, max_size=9), start=st.integers(0, 30), length=st.integers(1, 10))
def test_parts_outside_are_those_that_no_interval_covers(
    intervals: list[tuple[int, int]], start: int, length: int
) -> None:
    taken = union(intervals)
    assert all(stop < begin for (_, stop), (begin, _) in pairwise(taken))
    covered = {time for begin, stop in intervals for time in range(begin, stop)}
    parts = outside(start, start + length, taken)
    free = {time for begin, stop in parts for time in range(int(begin), int(stop))}
    assert free == set(range(start, start + length)) - covered
