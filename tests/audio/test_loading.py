from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soxr

from escoita.audio.decoding import SegmentError, TruncatedAudioError
from escoita.audio.ffmpeg import UnreadableAudioError
from escoita.audio.loading import SAMPLING_RATE, check_header, read_audio, seconds
from escoita.errors import AudioError, AudioLimitError
from tests.samples import pitch, tone, write_clip


def encode_with_av(path: Path, codec: str, mono: np.ndarray | None = None) -> Path:
    """Encode samples, or half a second of 440 Hz, in stereo at 48 kHz, like phones and browsers."""
    samples = tone(rate=48_000) if mono is None else soxr.resample(mono, SAMPLING_RATE, 48_000)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.stack([samples, samples]), format="fltp", layout="stereo")
        frame.sample_rate = 48_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def picture_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5, width=32, height=32, pix_fmt="yuv420p")
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def file_of(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def clip_of(samples: np.ndarray, rate: int = SAMPLING_RATE) -> Callable[[Path], object]:
    return lambda path: write_clip(path, samples.astype(np.float32), rate, subtype="FLOAT")


def with_sample(value: float) -> np.ndarray:
    samples = tone()
    samples[100] = value
    return samples


@pytest.mark.parametrize(
    "name, options",
    [
        ("clip.wav", {}),
        ("clip.flac", {}),
        ("clip.mp3", {}),
        ("clip.ogg", {"format": "OGG", "subtype": "OPUS"}),
        ("clip.opus", {"format": "OGG", "subtype": "OPUS"}),
    ],
)
def test_soundfile_formats(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    samples = read_audio(write_clip(tmp_path / name, **options))
    assert samples.dtype == np.float32 and samples.ndim == 1 and samples.flags.c_contiguous
    assert seconds(samples) == pytest.approx(0.5, abs=0.08)  # mp3 pads its last frame
    assert pitch(samples) == pytest.approx(440, abs=3)


@pytest.mark.parametrize(
    "name, codec", [("clip.m4a", "aac"), ("clip.webm", "libopus"), ("clip.mp4", "aac"), ("clip.aac", "aac")]
)
def test_pyav_formats(tmp_path: Path, name: str, codec: str) -> None:
    path = encode_with_av(tmp_path / name, codec)
    samples = read_audio(path)
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert seconds(samples) == pytest.approx(0.5, abs=0.08)
    assert pitch(samples) == pytest.approx(440, abs=3)
    np.testing.assert_array_equal(read_audio(path.read_bytes()), samples)


def test_flac_without_a_declared_length(tmp_path: Path) -> None:
    """In a file that was written to a pipe, the 36 bits of the header for the number of samples are zero."""
    path = write_clip(tmp_path / "piped.flac")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert seconds(read_audio(path)) == pytest.approx(0.5)
    assert seconds(read_audio(path, max_seconds=0.8)) == pytest.approx(0.5)
    with pytest.raises(AudioLimitError) as caught:
        read_audio(path, max_seconds=0.2)
    assert caught.value.max_seconds == 0.2


def test_stereo_is_averaged(tmp_path: Path) -> None:
    left, right = tone(440, level=0.4), tone(880, level=0.2)
    path = write_clip(tmp_path / "clip.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path), (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_other_rates_are_resampled(tmp_path: Path, rate: int) -> None:
    samples = read_audio(write_clip(tmp_path / "clip.wav", tone(700, 1.0, rate), rate))
    assert len(samples) == SAMPLING_RATE
    assert pitch(samples) == pytest.approx(700, abs=1)
    assert np.abs(samples[1_000:-1_000]).max() == pytest.approx(0.3, abs=0.01)


def test_16_khz_is_not_resampled(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_audio(write_clip(tmp_path / "clip.wav", subtype="FLOAT")), tone())


def test_content_and_path_give_the_same_samples(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.flac")
    np.testing.assert_array_equal(read_audio(path.read_bytes()), read_audio(str(path)))


def encoded(path: Path) -> Path:
    """Return an encoded recording with half a second of 440 Hz and half a second of 880 Hz."""
    samples = np.concatenate([tone(440), tone(880)])
    return encode_with_av(path, "aac", samples) if path.suffix == ".m4a" else write_clip(path, samples)


@pytest.mark.parametrize("name", ["clip.wav", "clip.flac", "clip.mp3", "clip.m4a"])
@pytest.mark.parametrize(
    "offset, duration, length, hertz",
    [(0.0, 0.4, 0.4, 440), (0.6, 0.3, 0.3, 880), (0.6, None, 0.4, 880), (0.1, 0.25, 0.25, 440)],
)
def test_segment_of_a_recording(
    tmp_path: Path, name: str, offset: float, duration: float | None, length: float, hertz: float
) -> None:
    path = encoded(tmp_path / name)
    samples = read_audio(path, offset=offset, duration=duration)
    assert seconds(samples) == pytest.approx(length, abs=0 if duration else 0.1)  # aac and mp3 pad their end
    assert pitch(samples[:4_800]) == pytest.approx(hertz, abs=5)
    np.testing.assert_array_equal(read_audio(path.read_bytes(), offset=offset, duration=duration), samples)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_joined_segments_equal_the_recording(tmp_path: Path, rate: int) -> None:
    path = write_clip(tmp_path / "clip.wav", tone(seconds=1.0, rate=rate), rate)
    parts = [read_audio(path, offset=offset, duration=0.25) for offset in (0.0, 0.25, 0.5, 0.75)]
    assert [len(part) for part in parts] == [SAMPLING_RATE // 4] * 4
    np.testing.assert_allclose(np.concatenate(parts), read_audio(path), atol=0 if rate == SAMPLING_RATE else 0.1)


def test_rounded_segment_end_is_accepted(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.wav")
    assert seconds(read_audio(path, offset=0.2, duration=0.34)) == pytest.approx(0.3)
    assert seconds(read_audio(path, duration=0.5)) == seconds(read_audio(path, duration=0.54)) == 0.5


@pytest.mark.parametrize("name", ["clip.wav", "clip.m4a"])
def test_a_duration_over_the_end_of_a_whole_recording_is_accepted(tmp_path: Path, name: str) -> None:
    path = encoded(tmp_path / name)
    length = seconds(read_audio(path))
    for excess in (0.06, 0.19):
        assert seconds(read_audio(path, offset=0.0, duration=length + excess)) == length
    for offset, excess in ((0.0, 0.22), (0.1, 0.06)):
        with pytest.raises(SegmentError):
            read_audio(path, offset=offset, duration=length - offset + excess)


def test_a_whole_recording_that_is_cut_off_is_refused_also_with_a_duration(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.wav", tone(seconds=1.0))
    path.write_bytes(path.read_bytes()[:-3200])
    assert seconds(read_audio(path, duration=0.8)) == 0.8
    with pytest.raises(TruncatedAudioError):
        read_audio(path, offset=0.0, duration=1.0)


@pytest.mark.parametrize("name", ["clip.wav", "clip.m4a"])
@pytest.mark.parametrize(
    "offset, duration, error_class",
    [
        (0.8, 0.5, SegmentError),
        (0.0, 1.3, SegmentError),
        (2.0, None, SegmentError),
        (-0.5, 0.2, SegmentError),
        (0.5, -0.2, SegmentError),
        (0.5, 0.0, AudioError),
        (0.5, 0.04, AudioError),
        (0.0, 0.0, AudioError),
    ],
)
def test_segment_outside_the_recording_or_too_short_is_refused(
    tmp_path: Path, name: str, offset: float, duration: float | None, error_class: type[AudioError]
) -> None:
    path = encoded(tmp_path / name)
    with pytest.raises(AudioError) as refusal:
        read_audio(path, offset=offset, duration=duration)
    assert refusal.value.path == str(path) and type(refusal.value) is error_class


@pytest.mark.parametrize(
    "name, make, error_class",
    [
        ("clip.wav", lambda path: None, AudioError),
        ("folder", Path.mkdir, AudioError),
        ("clip.wav", file_of(b""), UnreadableAudioError),
        ("clip.ogg", file_of(b"not audio at all " * 50), UnreadableAudioError),
        ("clip.raw", file_of(b"not audio at all " * 50), UnreadableAudioError),
        ("clip.mp4", picture_only, UnreadableAudioError),
        ("clip.wav", clip_of(np.zeros(0)), AudioError),
        ("clip.wav", clip_of(np.zeros(0), 8_000), AudioError),
        ("clip.wav", clip_of(np.ones(1), 48_000), AudioError),
        ("clip.wav", clip_of(np.ones(300)), AudioError),
        ("clip.wav", clip_of(with_sample(np.nan)), AudioError),
        ("clip.wav", clip_of(with_sample(np.inf)), AudioError),
        ("clip.wav", clip_of(with_sample(np.nan), 8_000), AudioError),
    ],
)
def test_errors_contain_the_file(
    tmp_path: Path, name: str, make: Callable[[Path], object], error_class: type[AudioError]
) -> None:
    make(tmp_path / name)
    with pytest.raises(AudioError) as refusal:
        read_audio(tmp_path / name)
    assert refusal.value.path == str(tmp_path / name) and type(refusal.value) is error_class
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("tagged", [False, True], ids=["untagged", "tagged"])
@pytest.mark.parametrize("declared", [False, True], ids=["undeclared length", "declared length"])
def test_mp3_is_read_to_its_end(tmp_path: Path, tagged: bool, declared: bool) -> None:
    loud_then_quiet = np.random.default_rng(0).standard_normal(48_000) * np.where(np.arange(48_000) < 4_000, 0.2, 1e-4)
    options = {"write_xing": "1" if declared else "0", "id3v2_version": "3" if tagged else "0"}
    with av.open(str(tmp_path / "clip.mp3"), "w", container_options=options) as container:
        container.metadata["comment"] = "Xing, Info or VBRI " * 500
        stream: Any = container.add_stream("libmp3lame", rate=SAMPLING_RATE, layout="mono")
        stream.codec_context.flags |= 2  # with a variable bitrate
        stream.codec_context.global_quality = 2 * 118
        frame = av.AudioFrame.from_ndarray(loud_then_quiet.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate = SAMPLING_RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])
    for source in (path := tmp_path / "clip.mp3", path.read_bytes()):
        assert seconds(read_audio(source)) == pytest.approx(3.0, abs=0.2)
    assert seconds(read_audio(path, max_seconds=3.5)) == pytest.approx(3.0, abs=0.2)
    with pytest.raises(AudioLimitError) as caught:
        read_audio(path, max_seconds=2.5)
    assert caught.value.max_seconds == 2.5


@pytest.mark.parametrize(
    "name",
    ["clip.flac", "clip.m4a", "clip.mp3"],
)
def test_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    encode_with_av(path, "aac") if path.suffix == ".m4a" else write_clip(path)
    with pytest.raises(TruncatedAudioError):
        read_audio(path.read_bytes()[: path.stat().st_size // 2])


def test_header_that_declares_terabytes(tmp_path: Path) -> None:
    content = bytearray(write_clip(tmp_path / "clip.mp3").read_bytes())
    frames = content.index(b"Xing") + 8
    content[frames : frames + 4] = b"\xff" * 4
    assert seconds(read_audio(bytes(content))) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    "name, content",
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{}\n#EXT-X-ENDLIST\n"),
        ("list.m4a", "ffconcat version 1.0\nfile 'private.mp3'\n"),
    ],
)
def test_playlist_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str) -> None:
    private = write_clip(tmp_path / "private.mp3", tone(seconds=2.0))
    path = tmp_path / name
    path.write_text(content.format(private))
    monkeypatch.chdir(tmp_path)
    for source in (path, path.read_bytes()):
        with pytest.raises(UnreadableAudioError):
            read_audio(source)
    check_header(path, 1.0)


def test_errors_use_the_given_name() -> None:
    with pytest.raises(UnreadableAudioError) as refusal:
        read_audio(b"nothing", name="upload.wav")
    assert refusal.value.path == "upload.wav"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="Linux only")
def test_a_file_of_the_system_that_cannot_be_read_is_named() -> None:
    with pytest.raises(AudioError) as refused:
        read_audio("/proc/self/mem")
    assert refused.value.path == "/proc/self/mem"


@pytest.mark.parametrize("offset, duration", [(float("nan"), 1.0), (0.0, float("nan")), (1e306, 1e306), (-1.0, 1.0)])
def test_impossible_times_of_a_segment_are_refused(tmp_path: Path, offset: float, duration: float) -> None:
    with pytest.raises(AudioError):
        read_audio(write_clip(tmp_path / "a.wav"), offset=offset, duration=duration)
