import numpy as np
import pytest

from escoita.audio.loading import SAMPLING_RATE
from escoita.audio.speech_activity import FRAME_SECONDS, speech_activity, speech_intervals
from tests.samples import tone


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLING_RATE), np.float32)


def noise(seconds: float, level: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, level, round(seconds * SAMPLING_RATE)).astype(np.float32)


@pytest.mark.parametrize("floor", [0.0, 1e-4, 3e-3])
def test_pauses_are_found_over_any_noise_floor(floor: float) -> None:
    samples = np.concatenate([silence(0.4), tone(seconds=0.8), silence(0.3), tone(seconds=0.5), silence(0.6)])
    found = speech_intervals(samples + noise(len(samples) / SAMPLING_RATE, floor))
    assert np.allclose(found, [(0.4, 1.2), (1.5, 2.0)], atol=1.5 * FRAME_SECONDS)


def test_plosive_closures_are_not_pauses_and_clicks_are_not_speech() -> None:
    click = tone(seconds=0.02)
    samples = np.concatenate([tone(), silence(0.1), tone(), silence(0.4), click, silence(0.4), tone()])
    found = speech_intervals(samples)
    assert np.allclose(found, [(0.0, 1.1), (1.92, 2.42)], atol=1.5 * FRAME_SECONDS)


@pytest.mark.parametrize("samples", [silence(1.0), tone(seconds=1.0), noise(1.0, 0.1), silence(1.0)[:1]])
def test_a_recording_without_pauses_is_one_interval(samples: np.ndarray) -> None:
    assert speech_intervals(samples) == [(0.0, len(samples) / SAMPLING_RATE)]


def test_syllables_and_sibilants_are_counted() -> None:
    rise = np.sin(np.pi * np.arange(3200) / 3200).astype(np.float32)
    vowel, sibilant = tone(700, 0.2) * rise, tone(6000, 0.2) * rise
    found = speech_activity(np.concatenate([vowel, vowel, sibilant, vowel]))
    assert found.nuclei.sum() == 3
    frames = np.flatnonzero(found.sibilants) * FRAME_SECONDS
    assert len(frames) and frames.min() >= 0.38 and frames.max() <= 0.6
    assert len(found.nuclei) == len(found.sibilants) == round(0.8 / FRAME_SECONDS)
