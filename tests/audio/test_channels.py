"""Channels are mixed to mono; one of them is used alone if the mix would lose it."""

import io

import numpy as np
import pytest
import soundfile

from escoita.audio.decoding import ChannelEnergies
from escoita.audio.loading import Recording, read_audio, read_recording
from tests.samples import tone


VOICE = tone(440, 1.0)
OTHER = tone(700, 1.0)
NOISE = np.random.default_rng(1).standard_normal((8, len(VOICE))).astype(np.float32)
ZERO = np.zeros_like(VOICE)


def stored(channels: list[np.ndarray], kind: str = "WAV", subtype: str | None = "FLOAT") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack(channels, axis=1), 16_000, format=kind, subtype=subtype)
    return buffer.getvalue()


def read(channels: list[np.ndarray]) -> Recording:
    return read_recording(stored(channels))


@pytest.mark.parametrize(
    "channels",
    [
        [VOICE],
        [VOICE, VOICE],
        [VOICE, 0.1 * VOICE],
        [VOICE, ZERO],
        [VOICE, OTHER],  # a telephone call: each side on its own channel
        [VOICE, 0.01 * NOISE[0]],
        [VOICE + NOISE[0] * 0.1, VOICE + NOISE[1] * 0.1],
        [VOICE, OTHER, *NOISE[:4] * 0.001],  # two people, each with a microphone
        [VOICE, 0.3 * OTHER, ZERO, ZERO, ZERO, ZERO],
        [*NOISE[:6] * 0.1],
        [VOICE] * 6,
        [ZERO, ZERO],
        [VOICE, -0.3 * VOICE],
    ],
    ids=lambda channels: f"{len(channels)} channels",
)
def test_others_are_mixed_as_before(channels: list[np.ndarray]) -> None:
    recording = read(channels)
    assert recording.channel is None
    np.testing.assert_array_equal(recording.samples, np.stack(channels, axis=1).mean(axis=1))


@pytest.mark.parametrize(
    "channels, used",
    [
        ([VOICE, -VOICE], 1),
        ([0.9 * VOICE, -VOICE], 2),
        ([VOICE, -VOICE + 0.02 * NOISE[0]], 2),
        ([VOICE + 0.05, -VOICE], 1),  # a constant offset is no voice
        ([VOICE, -VOICE, VOICE, -VOICE], 1),
        ([ZERO, ZERO, 0.01 * VOICE, ZERO, ZERO, ZERO], 3),
        ([*NOISE[:3] * 0.005, VOICE, *NOISE[3:5] * 0.005], 4),
        ([ZERO, ZERO, VOICE], 3),
    ],
)
def test_the_strongest_channel_is_used_if_mixing_loses_it(channels: list[np.ndarray], used: int) -> None:
    recording = read(channels)
    assert recording.channel == used and recording.notes == ("one_channel",)
    np.testing.assert_array_equal(recording.samples, channels[used - 1])


def test_all_ways_of_decoding_choose_the_same_channel() -> None:
    content = stored([VOICE, -VOICE], "MP3", None)
    recording = read_recording(content)
    assert recording.channel in (1, 2) and np.abs(recording.samples).max() > 0.2
    np.testing.assert_array_equal(read_audio(content), recording.samples)
    part = read_recording(stored([VOICE, -VOICE]), offset=0.25, duration=0.5)
    assert part.channel == 1
    np.testing.assert_array_equal(part.samples, VOICE[4_000:12_000])


def test_blocks_count_together() -> None:
    first, second = ChannelEnergies(2), ChannelEnergies(2)
    block = np.stack([VOICE, -0.99 * VOICE])
    first.add(block, block.mean(axis=0), axis=0)
    for start in range(0, len(VOICE), 1_000):
        piece = block[:, start : start + 1_000]
        second.add(piece, piece.mean(axis=0), axis=0)
    assert first.better_channel() == second.better_channel() == 0
    assert ChannelEnergies(2).better_channel() is None
