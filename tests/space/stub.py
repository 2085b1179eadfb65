"""Provide an engine without a model, and recordings in the formats that users send."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import av
import numpy as np
import soundfile

from escoita.audio.loading import SAMPLING_RATE, read_audible, seconds
from escoita.inference.fairness import Client
from escoita.inference.streaming import Partial
from escoita.recipe.schema import Space
from escoita.records.transcript import Segment, Transcript
from escoita.space.demo import Demo
from escoita.space.handlers import transcribe_recording


ROOT = Path(__file__).parents[2]
CLIP = ROOT / "quickstart/corpus/uz/test/0001.ogg"
FORMATS = ["wav", "flac", "ogg", "mp3", "m4a", "webm"]
# The container, codec and sampling rate of the suffixes that libsndfile does not write.
CONTAINERS = {
    ".m4a": ("ipod", "aac", 16_000),
    ".webm": ("webm", "libopus", 48_000),
    ".mp4": ("mp4", "aac", 16_000),
    ".mov": ("mov", "aac", 16_000),
    ".3gp": ("3gp", "aac", 16_000),
    ".caf": ("caf", "pcm_s16le", 16_000),
}


def tone(length: float) -> np.ndarray:
    """Return a tone of `length` seconds at 16 kHz."""
    return (0.3 * np.sin(np.arange(int(length * SAMPLING_RATE)) * 0.1)).astype(np.float32)


def write_clip(path: Path, length: float = 1.0) -> Path:
    """Write a tone that changes its level, as a steady one would be silence, in the format of the suffix."""
    samples = tone(length)
    samples[np.arange(len(samples)) // 3200 % 2 == 1] *= 0.3
    if path.suffix not in CONTAINERS:
        soundfile.write(path, samples, SAMPLING_RATE)
        return path
    kind, codec, rate = CONTAINERS[path.suffix]
    with av.open(str(path), "w", format=kind) as container:
        stream = cast(av.AudioStream, container.add_stream(codec, rate=rate, layout="mono"))
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
        frame.sample_rate = SAMPLING_RATE
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate)
        for out in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(out))
    return path


class Stub:
    """
    Read and refuse files like the engine, and return the same text for each recording, word by word.

    Args:
        text (`str`, *optional*, defaults to `"salom"`): The text.
        delay (`float`, *optional*, defaults to 0): The time before each word, in seconds.
        max_seconds (`float`, *optional*, defaults to 30): The length of the longest recording, in seconds.
    """

    def __init__(self, text: str = "salom", delay: float = 0.0, max_seconds: float = 30.0):
        self.text, self.delay, self.max_seconds = text, delay, max_seconds

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        prompt_adapter: str | None = None,
        client: Client | None = None,
    ) -> Iterator[Partial]:
        length, words = seconds(read_audible(source, self.max_seconds).samples), self.text.split()
        for count in range(1, len(words)):
            time.sleep(self.delay)
            yield Partial(" ".join(words[:count]), (), 0.0, length, None, self.delay)
        time.sleep(self.delay)
        segments = (Segment(0.0, length, self.text),)
        transcript = Transcript(self.text, length, 0.5, len(words), False, segments)
        yield Partial(self.text, segments, length, length, None, self.delay, transcript)


def transcribe(recording: Path | None, settings: Space | None = None, text: str = "salom") -> Transcript:
    """Return the transcript of a recording, within the limits of the page."""
    settings = settings or Space()
    stub = Stub(text, max_seconds=settings.max_minutes * 60)
    demo = Demo("Demo", "acme/base", None, "auto", {}, settings, None, "uz", lambda: stub, lambda: False)
    *_, last = transcribe_recording(demo, str(recording) if recording else None, None)
    assert last.transcript is not None
    return last.transcript
