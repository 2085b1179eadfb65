import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.audio.loading import SAMPLING_RATE
from escoita.audio.segmentation import cut_segment, speech_segments, split_at_pauses
from tests.audio.long_recordings import join, spoken_clips
from tests.samples import tone


@given(st.integers(1, 60 * SAMPLING_RATE), st.floats(0.5, 30), st.floats(0, 1))
def test_segments_cover_the_recording_and_are_within_the_limit(length: int, limit: float, pause: float) -> None:
    samples = np.ones(length, np.float32)
    samples[int(pause * length) :][: SAMPLING_RATE // 4] = 0
    parts = split_at_pauses(samples, limit)
    assert parts[0][0] == 0.0 and parts[-1][1] == length / SAMPLING_RATE
    assert all(end == start for (_, end), (start, _) in zip(parts, parts[1:], strict=False))
    assert all(0 < end - start <= limit + 1e-9 for start, end in parts)
    if len(parts) > 1:
        assert all(end - start >= 0.09 * limit for start, end in parts)


def test_a_short_recording_is_one_segment() -> None:
    assert split_at_pauses(tone(seconds=2.0), 2.0) == [(0.0, 2.0)]


@pytest.mark.parametrize("pause", [7.0, 8.0, 9.5])
def test_recordings_are_split_at_pauses(pause: float) -> None:
    samples = tone(seconds=15.0)
    samples[round((pause - 0.15) * SAMPLING_RATE) : round((pause + 0.15) * SAMPLING_RATE)] *= 0.01
    (_, cut), (start, end) = split_at_pauses(samples, 10.0)
    assert cut == start == pytest.approx(pause, abs=0.06) and end == 15.0


@pytest.mark.parametrize("start, end", [(2.0, 3.0), (9.6, 10.2)], ids=["too early", "too late"])
def test_a_pause_is_skipped_if_a_segment_would_be_short(start: float, end: float) -> None:
    samples = tone(seconds=10.2)
    samples[round(start * SAMPLING_RATE) : round(end * SAMPLING_RATE)] = 0
    (_, cut), _ = split_at_pauses(samples, 10.0)
    assert 6.0 <= cut <= 9.2


def test_joined_segments_equal_the_recording() -> None:
    samples = np.random.default_rng(0).normal(size=50_001).astype(np.float32)
    parts = [cut_segment(samples, *part) for part in split_at_pauses(samples, 0.9)]
    np.testing.assert_array_equal(np.concatenate(parts), samples)


def test_pauses_and_steady_sounds_are_left_out_of_a_long_recording() -> None:
    recording = join(*spoken_clips("gl", 20), "noise", np.random.default_rng(0))
    segments = speech_segments(recording.samples, 20.0, detector="energy")
    assert np.allclose(segments, np.array(recording.clips) / SAMPLING_RATE, atol=0.15)


def test_a_recording_within_the_limit_is_one_segment_with_its_pauses() -> None:
    samples = np.concatenate([tone(), np.zeros(SAMPLING_RATE, np.float32), tone()])
    assert speech_segments(samples, 2.0) == [(0.0, 2.0)]


def test_segments_of_speech_are_within_the_limit_and_do_not_overlap() -> None:
    clips, texts = spoken_clips("uz", 30)
    samples = join([np.concatenate(clips)], texts, "noise", np.random.default_rng(0)).samples
    segments = speech_segments(samples, 4.0, detector="energy")
    assert len(segments) > 5
    assert all(0.05 < end - start <= 4.0 + 1e-9 for start, end in segments)
    assert all(end <= start for (_, end), (start, _) in zip(segments, segments[1:], strict=False))


def test_stretches_with_short_pauses_can_be_joined() -> None:
    pauses = np.zeros(SAMPLING_RATE // 2, np.float32), np.zeros(3 * SAMPLING_RATE, np.float32)
    clips, _ = spoken_clips("uz", 4)
    samples = np.concatenate([clips[0], pauses[0], clips[1], pauses[0], clips[2], pauses[1], clips[3]])
    assert len(speech_segments(samples, 4.0, detector="energy")) == 4
    joined = speech_segments(samples, 4.0, 1.0, "energy")
    assert 1 < len(joined) < 4 and all(end - start <= 4.0 for start, end in joined)


def test_a_long_recording_without_speech_is_split_or_its_first_segment_is_left() -> None:
    assert len(speech_segments(np.zeros(5 * SAMPLING_RATE, np.float32), 2.0, detector="energy")) == 1
    short = [end - start for start, end in speech_segments(tone(seconds=2.0), 0.9, detector="energy")]
    assert sum(short) == pytest.approx(2.0)
