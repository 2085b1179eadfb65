"""Test that any file is decoded to samples or refused with one line."""

import io
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given

from escoita.audio.loading import SAMPLING_RATE, read_audio
from escoita.errors import AudioError
from tests.fuzz.inputs import fuzzed, mutated


TONE = (0.3 * np.sin(np.arange(SAMPLING_RATE // 4) / 9)).astype(np.float32)
# An hour, which is more than the header of so small a file can claim.
MOST_SAMPLES = 60 * 60 * SAMPLING_RATE


def with_soundfile(kind: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, TONE, SAMPLING_RATE, format=kind)
    return file.getvalue()


def with_av(kind: str, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.tile(TONE, 3)[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for packets in (stream.encode(frame), stream.encode(None)):
            container.mux(packets)
    return file.getvalue()


SEEDS = {
    **{kind: with_soundfile(kind) for kind in ("wav", "flac", "ogg", "mp3")},
    "m4a": with_av("mp4", "aac"),
    "webm": with_av("webm", "libopus"),
}


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Disable the warnings of FFmpeg on damaged files."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.PANIC)
    yield
    av.logging.set_level(level)


@pytest.mark.parametrize("kind", SEEDS)
def test_a_seed_is_a_recording(kind: str) -> None:
    assert len(read_audio(SEEDS[kind])) > 3000


@pytest.mark.parametrize("kind", SEEDS)
def test_a_damaged_recording_is_decoded_or_refused(kind: str) -> None:
    @fuzzed
    @given(mutated([SEEDS[kind]]))
    def tried(content: bytes) -> None:
        try:
            samples = read_audio(content, "clip")
        except AudioError as error:
            assert error.path == "clip" and "\n" not in str(error)
        else:
            assert samples.dtype == np.float32 and samples.ndim == 1 and len(samples) <= MOST_SAMPLES
            assert np.isfinite(samples).all()

    tried()
