"""Test that segments equal the same part of the complete recording, without decoding the audio before them."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from escoita.audio import decoding
from escoita.audio import ffmpeg as decoding_av
from escoita.audio.decoding import SegmentError, TruncatedAudioError
from escoita.audio.ffmpeg import UnreadableAudioError
from escoita.audio.loading import read_audio
from escoita.errors import AudioError


RATE = 48_000
LENGTH = 24.0
OFFSETS = (0.0, 0.011, 1.4, 3.0, 7.2503, 12.3456, 17.0, 21.0)


def make_signal(rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Return a signal without repetitions: harmonics of a varying pitch with pauses, and noise."""
    draw, time = np.random.default_rng(7), np.arange(round(LENGTH * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 40 * np.sin(1.7 * time) + 25 * np.sin(0.31 * time)) / rate
    voice = sum(np.sin(harmonic * pitch) / harmonic for harmonic in range(1, 25)) * (np.sin(9 * time) > -0.5) * 0.1
    return (voice + draw.normal(0, 0.004, (channels, len(time)))).astype(np.float32)


def encode(path: Path, codec: str, rate: int = RATE, bitrate: int = 0, channels: int = 1, **options: str) -> Path:
    layout = "stereo" if channels == 2 else "mono"
    with av.open(str(path), "w", container_options=options) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        if bitrate:
            stream.bit_rate = bitrate
        elif codec == "libmp3lame":
            stream.codec_context.flags |= 2  # with a variable bitrate
            stream.codec_context.global_quality = 4 * 118
        frame = av.AudioFrame.from_ndarray(make_signal(rate, channels), format="fltp", layout=layout)
        frame.sample_rate = rate
        sizes = {"frame_size": stream.codec_context.frame_size or None}
        resampler = av.AudioResampler(stream.codec_context.format.name, layout, rate, **sizes)
        for out in [*resampler.resample(frame), None]:
            container.mux(stream.encode(out))
    return path


def segments(path: Path, rate: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return segments, and the same parts of the complete recording, at the rate of the recording."""
    monkeypatch.setattr(decoding, "SAMPLING_RATE", rate)  # without resampling
    whole, found = read_audio(path), []
    for offset in OFFSETS:
        start = round(offset * rate)
        segment = read_audio(path, offset=offset, duration=1.5)
        found.append((segment, whole[start : start + round(1.5 * rate)]))
    return found


@pytest.mark.parametrize("xing", ["1", "0"], ids=["length declared", "no length declared"])
@pytest.mark.parametrize(
    "rate, bitrate, channels",
    [
        (48_000, 64_000, 1),
        (48_000, 0, 1),
        (44_100, 0, 2),
        (44_100, 32_000, 1),
        (44_100, 64_000, 2),
        (32_000, 32_000, 1),
        (24_000, 0, 1),
        (16_000, 16_000, 1),
        (8_000, 8_000, 1),
    ],
)
def test_a_segment_of_an_mp3_is_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, bitrate: int, channels: int, xing: str
) -> None:
    path = encode(tmp_path / "clip.mp3", "libmp3lame", rate, bitrate, channels, write_xing=xing)
    for segment, expected in segments(path, rate, monkeypatch):
        np.testing.assert_array_equal(segment, expected)


@pytest.mark.parametrize("kind, subtype", [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_a_segment_that_libsndfile_reads_is_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, subtype: str
) -> None:
    path = tmp_path / "clip"
    with soundfile.SoundFile(path, "w", RATE, 1, subtype, format=kind) as file:
        for block in np.array_split(make_signal()[0], 30):
            file.write(block)
    for segment, expected in segments(path, RATE, monkeypatch):
        np.testing.assert_array_equal(segment, expected)


@pytest.mark.parametrize(
    "name, codec, options",
    [
        ("clip.m4a", "aac", {}),
        ("clip.m4a", "aac", {"movflags": "faststart"}),
        ("clip.mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "500000"}),
        ("clip.mov", "aac", {}),
        ("clip.aac", "aac", {}),
        ("clip.webm", "libopus", {}),
        ("clip.ogg", "libopus", {}),
        ("live.webm", "libopus", {"live": "1"}),
        ("clip.mkv", "aac", {}),
        ("clip.m4a", "alac", {}),
    ],
)
def test_a_segment_of_another_format_is_at_its_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, options: dict[str, Any]
) -> None:
    path = encode(tmp_path / name, codec, **options)
    for segment, expected in segments(path, RATE, monkeypatch):
        assert len(segment) == len(expected)
        assert np.corrcoef(segment, expected)[0, 1] >= 0.999
    content = path.read_bytes()
    np.testing.assert_array_equal(
        read_audio(content, offset=12.3456, duration=1.5), read_audio(path, offset=12.3456, duration=1.5)
    )


def counted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list to which the decoded seconds of each recording are appended."""
    totals: list[float] = []
    decode = decoding_av._decoded

    def counting(packets: Any) -> Any:
        totals.append(0.0)
        for frame in decode(packets):
            totals[-1] += frame.samples / frame.sample_rate
            yield frame

    monkeypatch.setattr(decoding_av, "_decoded", counting)
    return totals


@pytest.mark.parametrize("name, codec", [("clip.m4a", "aac"), ("clip.webm", "libopus"), ("clip.mp3", "libmp3lame")])
def test_audio_before_a_segment_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str
) -> None:
    path = encode(tmp_path / name, codec, bitrate=64_000, write_xing="0")
    totals = counted(monkeypatch)
    read_audio(path, offset=20.0, duration=1.0)
    assert len(totals) == 1 and 1.0 < totals[0] < 3.0


def without_packets(path: Path, dropped: Callable[[int], bool]) -> Path:
    """Return the recording with gaps, like that of a browser."""
    other = path.with_name(f"gaps{path.suffix}")
    with av.open(str(path)) as source, av.open(str(other), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for number, packet in enumerate(source.demux(source.streams.audio[0])):
            if packet.size and not dropped(number):
                packet.stream = stream
                target.mux(packet)
    return other


@pytest.mark.parametrize("name, codec", [("clip.m4a", "aac"), ("clip.webm", "libopus")])
def test_recording_with_gaps_is_decoded_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str
) -> None:
    """Decoding the complete file removes the gaps, so that segments must not be located by their time stamps."""
    path = without_packets(encode(tmp_path / name, codec), lambda number: 200 <= number < 240)
    found = segments(path, RATE, monkeypatch)
    assert all(np.corrcoef(segment, expected)[0, 1] >= 0.999 for segment, expected in found)


def test_segment_after_the_end_is_refused(tmp_path: Path) -> None:
    for name, codec in (("clip.m4a", "aac"), ("clip.webm", "libopus")):
        path = encode(tmp_path / name, codec)
        with pytest.raises(SegmentError):
            read_audio(path, offset=23.5, duration=3.0)
        with pytest.raises(SegmentError):
            read_audio(path, offset=99.0, duration=3.0)
        assert len(read_audio(path, offset=20.0)) == pytest.approx(4 * 16_000, abs=1_600)


def test_damage_in_the_middle_is_not_truncation(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.aac", "aac")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3_000] = bytes(3_000)
    try:
        assert read_audio(bytes(content)).size
    except AudioError as error:
        assert not isinstance(error, TruncatedAudioError)


def test_invalid_content_is_refused() -> None:
    with pytest.raises(UnreadableAudioError):
        decoding_av.decode_with_av(io.BytesIO(b"nothing" * 99).getvalue(), "clip", 5.0, 1.0, 60.0)
