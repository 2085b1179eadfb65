"""Test that dither, digital silence and faint noise are silence in any codec, and that quiet speech is not."""

import io
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile

from escoita.audio.loading import is_silent, read_audio
from tests.samples import tone


QUICKSTART = sorted((Path(__file__).parents[2] / "quickstart/corpus/uz/test").glob("*.ogg"))[:8]


def stored(samples: np.ndarray, rate: int, kind: str = "WAV", subtype: str = "PCM_16") -> np.ndarray:
    """Return the samples after writing and reading a file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return read_audio(buffer.getvalue())


def dither(bits: int, seconds: float, rate: int) -> np.ndarray:
    """Return triangular dither of a silent recording, in steps of the given number of bits."""
    draw = np.random.default_rng(bits)
    steps = draw.uniform(-0.5, 0.5, (2, round(seconds * rate))).sum(axis=0)
    return np.round(steps) / 2 ** (bits - 1)


def at_level(samples: np.ndarray, decibels: float) -> np.ndarray:
    return samples * np.float32(10 ** (decibels / 20) / np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def noise(seconds: float, decibels: float) -> np.ndarray:
    return at_level(np.random.default_rng(5).standard_normal(round(seconds * 16_000)).astype(np.float32), decibels)


@pytest.mark.parametrize(
    "bits, kind, subtype",
    [
        (8, "WAV", "PCM_U8"),
        (16, "WAV", "PCM_16"),
        (24, "WAV", "PCM_24"),
        (16, "FLAC", "PCM_16"),
        (16, "MP3", "MPEG_LAYER_III"),
        (16, "OGG", "OPUS"),
        (8, "MP3", "MPEG_LAYER_III"),
        (8, "OGG", "OPUS"),
    ],
)
def test_dither_is_silence(bits: int, kind: str, subtype: str) -> None:
    for rate, seconds in product((8_000, 16_000, 48_000), (0.3, 3.0, 20.0)):
        assert is_silent(stored(dither(bits, seconds, rate), rate, kind, subtype)), (rate, seconds)


@pytest.mark.parametrize("seconds", [0.05, 1.0])
@pytest.mark.parametrize("offset", [0.0, 0.02, -0.5])
def test_a_constant_is_silence(offset: float, seconds: float) -> None:
    samples = np.full(round(seconds * 16_000), offset, np.float32)
    assert is_silent(samples)
    assert is_silent(samples + dither(16, seconds, 16_000).astype(np.float32)[: len(samples)])


def test_one_bit_of_a_telephone_recording_is_silence() -> None:
    assert is_silent(stored(np.random.default_rng(0).integers(-1, 2, 24_000).astype(np.int16), 8_000))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("decibels", [-30, -55, -67, -70])
def test_quiet_speech_is_not_silence(decibels: float, subtype: str) -> None:
    for path in QUICKSTART:
        samples = at_level(read_audio(path), decibels)
        assert not is_silent(stored(samples, 16_000, "WAV", subtype)), path.name
        assert not is_silent(samples + np.float32(0.01)), "with a constant offset"


@pytest.mark.parametrize("kind, subtype", [("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_encoded_quiet_speech_is_not_silence(kind: str, subtype: str) -> None:
    for path in QUICKSTART:
        assert not is_silent(stored(at_level(read_audio(path), -67), 16_000, kind, subtype)), path.name


def test_speech_between_silences_is_found() -> None:
    word = at_level(read_audio(QUICKSTART[0])[:16_000], -55)
    samples = np.concatenate([noise(20, -75), word, noise(20, -75)])
    assert np.sqrt(np.mean(samples**2)) < 1e-3 and not is_silent(samples)


@pytest.mark.parametrize("decibels", [-20, -38, -50, -65])
def test_steady_sounds_are_silence_at_any_level(decibels: float) -> None:
    hum = np.asarray(sum(tone(50 * harmonic, 3.0) / harmonic for harmonic in range(1, 9)))
    for samples in (hum, tone(seconds=3.0), noise(3, 0)):
        assert is_silent(at_level(samples, decibels))


@pytest.mark.parametrize("decibels, silent", [(-30, False), (-45, True)])
def test_a_steady_sound_under_a_second_is_silence_below_40_decibels(decibels: float, silent: bool) -> None:
    assert is_silent(at_level(tone(seconds=0.9), decibels)) == silent


def test_padding_with_digital_silence_does_not_make_noise_audible() -> None:
    assert is_silent(np.concatenate([np.zeros(8_000, np.float32), noise(3, -70)]))


def test_speech_in_noise_is_found_relative_to_the_noise() -> None:
    word = np.pad(at_level(read_audio(QUICKSTART[0])[:16_000], -60), 16_000)
    background = noise(len(word) / 16_000, 0)
    assert not is_silent(word + at_level(background, -75)) and is_silent(word + at_level(background, -30))
