"""Test that speech is found to its ends between pauses, noise, hum and chords, and that these are not speech."""

from typing import Literal

import numpy as np
import pytest

from escoita.audio import silero
from escoita.audio.loading import SAMPLING_RATE
from escoita.audio.speech_detection import find_speech, speech_detector
from escoita.records.transcript import SpeechDetector
from tests.audio.long_recordings import at_level, chords, hum, join, pink_noise, spoken_clips
from tests.samples import tone


# The end of a clip that is quieter than the noise after it; and noise next to a clip that is above its floor.
LOST_SECONDS, ADDED_SECONDS = 0.10, 0.15
DETECTORS: list[SpeechDetector] = ["energy", "silero"]


def detector_or_skip(detector: SpeechDetector) -> SpeechDetector:
    if detector == "silero" and not silero.is_installed():
        pytest.skip("escoita[vad] is not installed")
    return detector


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("pause", ["noise", "silence"])
@pytest.mark.parametrize("language", ["uz", "gl"])
def test_each_clip_is_one_stretch_and_nothing_else_is(
    language: str, pause: Literal["noise", "silence"], detector: SpeechDetector
) -> None:
    recording = join(*spoken_clips(language, 60), pause, np.random.default_rng(0))
    found = find_speech(recording.samples, detector_or_skip(detector))
    assert len(found) == len(recording.clips)
    late, early = (np.array(found) - np.array(recording.clips)).T / SAMPLING_RATE
    assert late.max() <= LOST_SECONDS and early.min() >= -LOST_SECONDS
    assert late.min() >= -ADDED_SECONDS and early.max() <= ADDED_SECONDS


def test_no_audible_sample_is_lost_between_digital_silence() -> None:
    recording = join(*spoken_clips("uz", 60), "silence", np.random.default_rng(1))
    for (start, end), (first, last) in zip(find_speech(recording.samples, "energy"), recording.clips, strict=True):
        cut_off = np.concatenate([recording.samples[first:start], recording.samples[end:last]])
        spoken = recording.samples[first:last]
        # What is left out of the ends has less than a thousandth of the energy of the clip.
        assert np.square(cut_off).sum() < 1e-3 * np.square(spoken).sum()


@pytest.mark.parametrize("seconds", [1.2, 5.0])
def test_sounds_that_do_not_change_for_a_second_are_not_speech(seconds: float) -> None:
    draw = np.random.default_rng(0)
    count = round(seconds * SAMPLING_RATE)
    quiet = np.zeros(SAMPLING_RATE)
    for sound in (hum(seconds), chords(seconds), pink_noise(count, draw, -30), tone(seconds=seconds)):
        samples = np.concatenate([quiet, sound, quiet]).astype(np.float32)
        assert find_speech(samples, "energy") == []


def test_speech_directly_before_a_chord_is_kept() -> None:
    (clip,), _ = spoken_clips("uz", 1)
    ((start, end),) = find_speech(np.concatenate([np.zeros(8000), clip, chords()]).astype(np.float32), "energy")
    assert abs(start - 8000) < 0.05 * SAMPLING_RATE
    assert -0.1 * SAMPLING_RATE < end - 8000 - len(clip) < 0.4 * SAMPLING_RATE


def test_a_quiet_voice_after_a_loud_one_is_found() -> None:
    clips, _ = spoken_clips("uz", 2)
    pause = np.zeros(15 * SAMPLING_RATE)
    samples = np.concatenate([at_level(clips[0], -15), pause, at_level(clips[1], -55)])
    noise = pink_noise(len(samples), np.random.default_rng(0), -85)
    assert len(find_speech((samples + noise).astype(np.float32), "energy")) == 2


@pytest.mark.parametrize("count", [0, 1, 79, 400, 20_000])
def test_silence_of_any_length_has_no_speech(count: int) -> None:
    assert find_speech(np.zeros(count, np.float32), "energy") == []


def test_the_detector_is_silero_if_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for installed, expected in ((True, "silero"), (False, "energy")):
        monkeypatch.setattr(silero, "is_installed", lambda installed=installed: installed)
        assert speech_detector() == expected


def test_silero_removes_segments_without_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    (clip,), _ = spoken_clips("uz", 1)
    pause = np.zeros(SAMPLING_RATE)
    samples = np.concatenate([clip, pause, clip]).astype(np.float32)
    frames = np.zeros(-(-len(samples) // silero.FRAME), bool)
    frames[: len(clip) // silero.FRAME] = True
    monkeypatch.setattr(silero, "speech_frames", lambda samples: frames)
    assert len(find_speech(samples, "energy")) == 2
    assert len(find_speech(samples, "silero")) == 1
