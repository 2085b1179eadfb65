"""Test that decoding in blocks equals decoding at once, and stops at the limits."""

import io
import tracemalloc
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from escoita.audio import decoding
from escoita.audio.decoding import SAMPLES_PER_SECOND, SAMPLING_RATE, ChannelEnergies, Mono, SegmentError
from escoita.audio.loading import Recording, check_header, read_audio, read_recording, seconds
from escoita.errors import AudioLimitError
from tests.samples import tone, write_clip


def noise(length: float, rate: int, channels: int = 1) -> np.ndarray:
    samples = np.random.default_rng(0).standard_normal((int(length * rate) + 17, channels)) * 0.1
    return samples.astype(np.float32)


def at_once(source: bytes) -> np.ndarray:
    """Decode the complete file, convert it to mono, and resample it to 16 kHz."""
    with soundfile.SoundFile(io.BytesIO(source)) as file:
        samples, rate = file.read(dtype="float32", always_2d=True), file.samplerate
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    return np.asarray(mono if rate == SAMPLING_RATE else soxr.resample(mono, rate, SAMPLING_RATE))


def write_bomb(path: Path, length: float = 29, rate: int = 655_350, channels: int = 8) -> Path:
    """Write half a second of a tone followed by silence, at the highest rate and in all channels of FLAC."""
    with soundfile.SoundFile(path, "w", rate, channels) as file:
        file.write(np.repeat(tone(seconds=0.5, rate=rate)[:, None], channels, axis=1))
        left = int((length - 0.5) * rate)
        while left > 0:
            file.write(np.zeros((min(left, 2**18), channels), np.float32))
            left -= 2**18
    return path


@given(st.integers(1, 60_000), st.integers(1, 4_000), st.sampled_from([8_000, 11_025, 16_000, 44_100, 48_000, 96_000]))
@settings(max_examples=60, deadline=None)
def test_resampling_in_blocks_equals_resampling_at_once(length: int, block: int, rate: int) -> None:
    samples = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    mono = Mono("clip", 1e6)
    for start in range(0, length, block):
        mono.add(samples[None, start : start + block], rate, axis=0)
    expected = samples if rate == SAMPLING_RATE else soxr.resample(samples, rate, SAMPLING_RATE)
    np.testing.assert_array_equal(mono.finish(), expected)


@pytest.mark.parametrize(
    ("kind", "subtype", "channels"),
    [("WAV", "PCM_16", 2), ("WAV", "FLOAT", 6), ("FLAC", "PCM_16", 1), ("OGG", "VORBIS", 2), ("MP3", None, 2)],
)
def test_decoding_in_blocks_equals_decoding_at_once(
    monkeypatch: pytest.MonkeyPatch, kind: str, subtype: str | None, channels: int
) -> None:
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 3_000)
    for rate in (8_000, 16_000, 22_050, 48_000):
        buffer = io.BytesIO()
        soundfile.write(buffer, noise(3, rate, channels), rate, format=kind, subtype=subtype)
        np.testing.assert_array_equal(read_audio(buffer.getvalue()), at_once(buffer.getvalue()))


def test_too_many_samples_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_bomb(tmp_path / "bomb.flac")
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *arguments, **options: pytest.fail("decoded"))
    with pytest.raises(AudioLimitError) as refusal:
        read_audio(path, max_seconds=30)
    assert refusal.value.max_seconds is None
    with pytest.raises(AudioLimitError):
        check_header(path, 30)
    with pytest.raises(AudioLimitError) as longer:
        check_header(path, 20)
    assert longer.value.max_seconds == 20


def test_a_short_recording_may_have_many_channels(tmp_path: Path) -> None:
    assert seconds(read_audio(write_bomb(tmp_path / "short.flac", 2), max_seconds=30)) == pytest.approx(2)


@pytest.mark.parametrize("name", ["long.flac", "long.wav"])
def test_memory_is_limited_to_the_result_and_a_block(tmp_path: Path, name: str) -> None:
    path = write_bomb(tmp_path / name, 10, 192_000, 2)
    tracemalloc.start()
    samples = read_audio(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * samples.nbytes + 8 * 4 * decoding.BLOCK_SAMPLES < 15e6


def encode_live(length: float, kind: str = "webm", codec: str = "libopus") -> bytes:
    """Encode a recording without a declared length, like a browser."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind, options={"live": "1"}) as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(seconds=length, rate=48_000)[None], format="flt", layout="mono")
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(format=stream.codec_context.format.name, layout="mono", rate=48_000)
        for out in [*resampler.resample(frame), None]:
            for packet in stream.encode(out):
                container.mux(packet)
    return file.getvalue()


def test_a_live_recording_is_refused_during_decoding(tmp_path: Path) -> None:
    path = tmp_path / "live.webm"
    path.write_bytes(encode_live(8))
    check_header(path, 3)  # no declared length
    assert seconds(read_audio(path, max_seconds=9)) == pytest.approx(8, abs=0.1)
    with pytest.raises(AudioLimitError) as caught:
        read_audio(path, max_seconds=3)
    assert caught.value.max_seconds == 3


def test_the_declared_length_of_an_m4a_is_used_before_decoding(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "long.m4a"), "w", format="ipod") as container:
        stream: Any = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(seconds=8, rate=48_000)[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for packets in (stream.encode(frame), stream.encode(None)):
            container.mux(packets)
    check_header(tmp_path / "long.m4a", 9)
    with pytest.raises(AudioLimitError):
        check_header(tmp_path / "long.m4a", 5)


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7", b"RIFF\x24\x00\x00\x00WAVE"])
def test_an_unreadable_header_is_accepted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "letter.wav").write_bytes(content)
    check_header(tmp_path / "letter.wav", 1)
    check_header(write_clip(tmp_path / "clip.wav"), 1)


def test_a_segment_of_a_long_recording_is_within_the_limit(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "long.flac", tone(seconds=20.0))
    with pytest.raises(AudioLimitError):
        read_audio(path, max_seconds=5)
    assert seconds(read_audio(path, offset=15.0, duration=4.0, max_seconds=5)) == 4.0


def test_decoding_stops_after_the_segment(tmp_path: Path) -> None:
    path = tmp_path / "live.webm"
    path.write_bytes(encode_live(8))
    whole = read_audio(path, max_seconds=9)
    part = read_audio(path, offset=1.0, duration=2.0, max_seconds=5)
    np.testing.assert_allclose(part[500:-500], whole[16_500:47_500], atol=1e-3)  # the edges are resampled differently
    with pytest.raises(SegmentError):
        read_audio(path, offset=7.0, duration=3.0)


def test_an_mp3_with_an_impossible_declared_length_is_read_to_its_end(tmp_path: Path) -> None:
    content = bytearray(write_clip(tmp_path / "clip.mp3").read_bytes())
    frames = content.index(b"Xing") + 8
    content[frames : frames + 4] = b"\xff" * 4
    (tmp_path / "clip.mp3").write_bytes(content)
    check_header(tmp_path / "clip.mp3", 1)
    assert seconds(read_audio(tmp_path / "clip.mp3", max_seconds=1)) == pytest.approx(0.5, abs=0.1)


def test_studio_recordings_are_within_the_limit_of_samples() -> None:
    assert max(8 * 48_000, 2 * 192_000) <= SAMPLES_PER_SECOND


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
        [VOICE, OTHER],  # a telephone call with one speaker per channel
        [VOICE, 0.01 * NOISE[0]],
        [VOICE + NOISE[0] * 0.1, VOICE + NOISE[1] * 0.1],
        [VOICE, OTHER, *NOISE[:4] * 0.001],  # two speakers, each with a microphone
        [VOICE, 0.3 * OTHER, ZERO, ZERO, ZERO, ZERO],
        [*NOISE[:6] * 0.1],
        [VOICE] * 6,
        [ZERO, ZERO],
        [VOICE, -0.3 * VOICE],
    ],
    ids=lambda channels: f"{len(channels)} channels",
)
def test_other_channels_are_averaged(channels: list[np.ndarray]) -> None:
    recording = read(channels)
    assert recording.channel is None
    np.testing.assert_array_equal(recording.samples, np.stack(channels, axis=1).mean(axis=1))


@pytest.mark.parametrize(
    "channels, used",
    [
        ([VOICE, -VOICE], 1),
        ([0.9 * VOICE, -VOICE], 2),
        ([VOICE, -VOICE + 0.02 * NOISE[0]], 2),
        ([VOICE + 0.05, -VOICE], 1),  # a constant offset is not speech
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


def test_all_decoders_choose_the_same_channel() -> None:
    content = stored([VOICE, -VOICE], "MP3", None)
    recording = read_recording(content)
    assert recording.channel in (1, 2) and np.abs(recording.samples).max() > 0.2
    np.testing.assert_array_equal(read_audio(content), recording.samples)
    part = read_recording(stored([VOICE, -VOICE]), offset=0.25, duration=0.5)
    assert part.channel == 1
    np.testing.assert_array_equal(part.samples, VOICE[4_000:12_000])


def test_blocks_are_counted_together() -> None:
    first, second = ChannelEnergies(2), ChannelEnergies(2)
    block = np.stack([VOICE, -0.99 * VOICE])
    first.add(block, block.mean(axis=0), axis=0)
    for start in range(0, len(VOICE), 1_000):
        piece = block[:, start : start + 1_000]
        second.add(piece, piece.mean(axis=0), axis=0)
    assert first.better_channel() == second.better_channel() == 0
    assert ChannelEnergies(2).better_channel() is None
