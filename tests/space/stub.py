"""A transcriber without a model, and recordings in the formats that visitors send."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import av
import numpy as np
import soundfile

from escoita.audio import SAMPLING_RATE, seconds
from escoita.transcribe import Transcriber
from escoita.transcript import Transcript


ROOT = Path(__file__).parents[2]
CLIP = ROOT / "quickstart/corpus/uz/test/0001.ogg"
FORMATS = ["wav", "flac", "ogg", "mp3", "m4a", "webm"]


def tone(length: float) -> np.ndarray:
    """A hum of `length` seconds at 16 kHz."""
    return (0.3 * np.sin(np.arange(int(length * SAMPLING_RATE)) * 0.1)).astype(np.float32)


def write_clip(path: Path, length: float = 1.0) -> Path:
    """Writes a hum in the format that the name ends in."""
    if path.suffix not in (".m4a", ".webm"):
        soundfile.write(path, tone(length), SAMPLING_RATE)
        return path
    codec, rate, kind = ("aac", 16_000, "ipod") if path.suffix == ".m4a" else ("libopus", 48_000, "webm")
    with av.open(str(path), "w", format=kind) as container:
        stream = cast(av.AudioStream, container.add_stream(codec, rate=rate, layout="mono"))
        frame = av.AudioFrame.from_ndarray(tone(length)[None, :], format="fltp", layout="mono")
        frame.sample_rate = SAMPLING_RATE
        resampler = av.AudioResampler(format="fltp" if codec == "aac" else "flt", layout="mono", rate=rate)
        for out in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(out))
    return path


class Stub(Transcriber):
    """
    Reads and refuses files as a transcriber does, and always hears the same.

    Args:
        text (`str`, *optional*, defaults to `"salom"`): What it hears.
        delay (`float`, *optional*, defaults to 0): Seconds that it takes.
    """

    def __init__(self, text: str = "salom", delay: float = 0.0):
        self.text, self.delay = text, delay
        self.lock, self.at_once, self.most_at_once = threading.Lock(), 0, 0

    def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.delay)
        with self.lock:
            self.at_once -= 1
        return [Transcript(self.text, seconds(clip), 0.5) for clip in clips]
