"""Make small recordings, manifests and a recipe for all tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from escoita.audio.loading import SAMPLING_RATE


RECIPE = """\
name: small
base: quickstart/gemma4
language: uz
method:
  r: 4
  target_modules: .*_proj
prompt: {user: Please transcribe this audio.}
corpora:
  train:
    - {name: clips, path: train.jsonl, license: cc0-1.0}
  test:
    - name: clips
      path: test.jsonl
      title: Some clips
training:
  learning_rate: 3.0e-3
  bf16: false
card:
  title: A small adapter
  license: apache-2.0
"""


def tone(hertz: float = 440, seconds: float = 0.5, rate: int = SAMPLING_RATE, level: float = 0.3) -> np.ndarray:
    """Return a sine of shape `(samples,)`, float32."""
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def melody(seconds: float) -> np.ndarray:
    """Return notes of 0.2 s of changing pitch and level, which are not distinguished from speech, unlike a tone."""
    notes = [tone(330 * (1 + number % 4), 0.2, level=0.3 if number % 2 else 0.06) for number in range(4)]
    count = round(seconds * SAMPLING_RATE)
    return np.resize(np.concatenate(notes), count)


def pitch(samples: np.ndarray) -> float:
    """Return the strongest frequency of samples at 16 kHz, in hertz."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * SAMPLING_RATE / len(samples))


def write_clip(path: Path, samples: np.ndarray | None = None, rate: int = SAMPLING_RATE, **kwargs: Any) -> Path:
    """Write samples, or half a second of a tone, in the format of the file name."""
    soundfile.write(path, tone() if samples is None else samples, rate, **kwargs)
    return path


def write_manifest(path: Path, rows: list[dict[str, Any] | str]) -> Path:
    """Write rows as JSON lines; strings are written unchanged."""
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path
