"""Write a corpus for CTC models: words whose letters are one tone each."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.samples import tone, write_clip, write_manifest


TONES = {"a": 300, "b": 550, "c": 900, "d": 1500, "e": 2500}
WORDS = ("ab", "cad", "bed", "dac", "eb", "ace")


def clip_of(words: list[str], generator: np.random.Generator) -> np.ndarray:
    """Return a recording with a tone of 120 ms for each letter, and 240 ms of faint noise between two words."""
    pause = np.zeros(3_840, np.float32)
    clip = np.concatenate([part for word in words for part in (pause, *(tone(TONES[x], 0.12) for x in word))])[3_840:]
    return (clip + generator.normal(0, 0.005, len(clip))).astype(np.float32)


def write_corpus(folder: Path, rows: int, seed: int, words: int = 2) -> Path:
    """Write clips of some words each, and their manifest."""
    generator = np.random.default_rng(seed)
    folder.mkdir()
    found: list[dict[str, Any] | str] = []
    for index in range(rows):
        chosen = [str(word) for word in generator.choice(WORDS, words)]
        path = write_clip(folder / f"{index}.wav", clip_of(chosen, generator))
        found.append({"audio": str(path), "text": " ".join(chosen).capitalize() + "."})
    return write_manifest(folder / "rows.jsonl", found)
