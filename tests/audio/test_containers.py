"""Test the detection of truncated files, and of files that declare no length."""

import io
import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from escoita.audio import containers
from escoita.audio.containers import declared_ratio, is_chained_ogg
from escoita.audio.decoding import SegmentError, TruncatedAudioError
from escoita.audio.loading import read_audio, read_recording, seconds
from tests.audio.test_decoding import encode_live
from tests.samples import tone, write_clip


SECONDS = 6.0
NOISE = (np.random.default_rng(0).standard_normal(round(SECONDS * 48_000)) * 0.1).astype(np.float32)


def encoded(kind: str, codec: str, begin: float = 0.0, **options: str) -> bytes:
    """Return encoded noise, whose bytes are proportional to its duration, with a start time."""
    with TemporaryDirectory() as folder:  # to write the index first, the muxer reads the file again
        path = Path(folder) / "clip"
        encode(path, kind, codec, begin, options)
        return path.read_bytes()


def encode(path: Path, kind: str, codec: str, begin: float, options: dict[str, str]) -> None:
    with av.open(str(path), "w", format=kind, options=options) as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(NOISE[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48_000, round(begin * 48_000)
        resampler = av.AudioResampler(format=stream.codec_context.format.name, layout="mono", rate=48_000)
        for out in [*resampler.resample(frame), None]:
            for packet in stream.encode(out):
                container.mux(packet)


def written(kind: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 48_000, 1, subtype, format=kind) as recording:
        for start in range(0, len(NOISE), 48_000):  # libsndfile fails on long blocks of Vorbis
            recording.write(NOISE[start : start + 48_000])
    return file.getvalue()


WHOLE = {
    "wav": written("WAV"),
    "wav, 24 bits": written("WAV", "PCM_24"),
    "rf64": written("RF64"),
    "aiff": written("AIFF"),
    "flac": written("FLAC"),
    "vorbis": written("OGG", "VORBIS"),
    "opus": written("OGG", "OPUS"),
    "mp3": written("MP3"),
    "webm": encoded("webm", "libopus"),
    "matroska, live": encoded("matroska", "libopus", live="1"),
    "m4a": encoded("ipod", "aac", movflags="faststart"),
    "mp4, fragments": encoded("mp4", "aac", movflags="frag_keyframe+empty_moov", frag_duration="500000"),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_complete_file_is_not_truncated(kind: str) -> None:
    recording = read_recording(WHOLE[kind])
    assert not recording.cut_off and not recording.notes
    assert seconds(recording.samples) == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("kind", WHOLE)
def test_part_of_a_file_is_truncated(kind: str) -> None:
    for share in (0.25, 0.5, 0.75):
        content = WHOLE[kind][: int(share * len(WHOLE[kind])) | 1]
        recording = read_recording(content, "clip")
        assert recording.cut_off and recording.notes == ("cut_off",), share
        assert 0.1 < seconds(recording.samples) < SECONDS - 0.5, share
        with pytest.raises(TruncatedAudioError) as refusal:
            read_audio(content, "clip")
        assert refusal.value.path == "clip" and refusal.value.problem == recording.cut_off


def test_mp4_without_its_index_cannot_be_read() -> None:
    content = encoded("ipod", "aac")
    with pytest.raises(TruncatedAudioError):
        read_recording(content[: len(content) // 2])


def test_truncated_live_webm() -> None:
    content = encode_live(3)
    assert not read_recording(content).cut_off
    assert read_recording(content[: len(content) // 2]).cut_off


@pytest.mark.parametrize("kind, codec", [("webm", "libopus"), ("matroska", "aac"), ("mp4", "aac"), ("mov", "aac")])
def test_recording_with_a_late_start_is_complete(kind: str, codec: str) -> None:
    """A browser writes such a file if the microphone is permitted during the recording."""
    content = encoded(kind, codec, begin=4.0)
    recording = read_recording(content)
    assert not recording.cut_off and seconds(recording.samples) == pytest.approx(SECONDS, abs=0.1)
    if kind in ("webm", "matroska"):
        assert read_recording(content[: len(content) // 2]).cut_off


@pytest.mark.parametrize("kind", ["webm", "m4a", "mp4, fragments"])
def test_bytes_after_the_recording_are_ignored(kind: str) -> None:
    content = WHOLE[kind] + b"TAG" + b"title" * 25
    assert declared_ratio(content) == 1 and not read_recording(content).cut_off


def test_chained_ogg_is_read_to_its_end(tmp_path: Path) -> None:
    other = encoded("ogg", "libopus")
    content = WHOLE["opus"] + other
    recording = read_recording(content)
    assert not recording.cut_off and seconds(recording.samples) == pytest.approx(2 * SECONDS, abs=0.1)
    for offset in (2.0, 8.0):
        segment = read_audio(content, offset=offset, duration=1.0)
        assert np.corrcoef(segment, recording.samples[round(offset * 16_000) :][:16_000])[0, 1] >= 0.999
    assert read_recording(content[: -len(other) // 2]).cut_off
    path = tmp_path / "chain.ogg"
    path.write_bytes(content)
    assert is_chained_ogg(path) and is_chained_ogg(content)
    assert not is_chained_ogg(other) and not is_chained_ogg(WHOLE["vorbis"])
    assert not is_chained_ogg(b"") and not is_chained_ogg(other[:40]) and not is_chained_ogg(other[:27] * 5_000)


def with_data_length(length: int) -> bytes:
    content = WHOLE["wav"]
    place = content.index(b"data") + 4
    return content[:place] + struct.pack("<I", length) + content[place + 4 :]


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x7FFFF000, 0x80000000])
def test_placeholder_is_no_declared_length(length: int) -> None:
    """Pipes and killed recorders write such a length."""
    recording = read_recording(with_data_length(length))
    assert not recording.cut_off and seconds(recording.samples) == pytest.approx(SECONDS, abs=0.001)
    assert declared_ratio(with_data_length(length)) == 1


def test_wrong_declared_length_is_truncation() -> None:
    recording = read_recording(with_data_length(0x70000000))
    assert recording.cut_off and seconds(recording.samples) == SECONDS


@pytest.mark.parametrize("kind", ["wav", "aiff"])
def test_truncated_metadata_is_not_truncated_audio(kind: str) -> None:
    content = WHOLE[kind]
    content += struct.pack("<4sI" if kind == "wav" else ">4sI", b"LIST" if kind == "wav" else b"ANNO", 1000) + b"x" * 9
    assert not read_recording(content).cut_off


def test_segment_of_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(WHOLE["wav"][: len(WHOLE["wav"]) // 2])
    np.testing.assert_array_equal(
        read_audio(path, offset=1.0, duration=1.0), read_audio(path, offset=1.0, duration=1.0)
    )
    with pytest.raises(TruncatedAudioError):
        read_audio(path, offset=1.0)
    with pytest.raises(SegmentError):
        read_audio(path, offset=2.0, duration=3.0)


def test_declared_ratio_of_path_and_content(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.wav", tone(seconds=1.0))
    path.write_bytes(path.read_bytes()[:-9_000])
    assert declared_ratio(path) == declared_ratio(path.read_bytes()) == pytest.approx(32_000 / 23_000)


@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 2**31), st.binary(max_size=16), st.integers(0, 400))
@settings(max_examples=300, deadline=None)
def test_damaged_container_raises_no_error(kind: str, place: int, junk: bytes, near: int) -> None:
    content = bytearray(WHOLE[kind])
    start = place % len(content) if place % 2 else near
    content[start : start + len(junk)] = junk
    assert declared_ratio(bytes(content)) >= 1
    assert is_chained_ogg(bytes(content)) in (False, True)
    assert declared_ratio(junk) >= 1


def test_number_of_elements_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "ELEMENTS", 1_000)
    assert declared_ratio(b"\x1aE\xdf\xa3\x80" + b"\xec\x80" * 5_000) == 1
    assert declared_ratio(b"\0\0\0\x08free" * 5_000) == 1
    assert declared_ratio(b"RIFF\0\0\0\0WAVE" + b"LIST\0\0\0\0" * 5_000) == 1
