"""Make a recording of several clips with pauses, and a model whose text is known."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from escoita.audio.loading import SAMPLING_RATE, read_audio
from escoita.inference.transcriber import Transcriber
from tests.conftest import ROOT
from tests.samples import write_clip


PAUSE = 1.5


def write_talk(path: Path, clips: int = 3) -> list[tuple[float, float]]:
    """Write clips of the quick start with pauses before, between and after them; return their times."""
    sources = sorted((ROOT / "quickstart/corpus").rglob("*.ogg"))[:clips]
    silence = np.zeros(int(PAUSE * SAMPLING_RATE), np.float32)
    parts, times, now = [silence], [], PAUSE
    for source in sources:
        samples = read_audio(source)
        times.append((now, now + len(samples) / SAMPLING_RATE))
        parts += [samples, silence]
        now = times[-1][1] + PAUSE
    path.parent.mkdir(exist_ok=True)
    write_clip(path, np.concatenate(parts))
    return times


class CountingModel:
    """Return the numbers of the segments that it transcribed as their texts."""

    def __init__(self, longest: float = 30.0):
        self.family = SimpleNamespace(max_audio_seconds=longest)
        self.lengths: list[int] = []

    def transcribe(self, clips: Sequence[np.ndarray]) -> list[Any]:
        found = []
        for clip in clips:
            self.lengths.append(len(clip))
            found.append(SimpleNamespace(text=f"borrador {len(self.lengths)}"))
        return found


def counting_model(longest: float = 30.0) -> Transcriber:
    return cast(Transcriber, CountingModel(longest))
