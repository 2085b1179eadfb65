from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from escoita.corpora.rows import Utterance
from escoita.errors import AudioError
from escoita.records import Prompt
from tests.escoita.samples import tone, write_clip
from training.collator import SpeechCollator


class KeepingFamily:
    """Keeps what it is asked to encode."""

    def encode_with_targets(self, processor: Any, audio: list[np.ndarray], texts: list[str], prompt: Prompt) -> Any:
        self.processor, self.audio, self.texts, self.prompt = processor, audio, texts, prompt
        return {"labels": torch.tensor([len(clip) for clip in audio])}


@pytest.fixture
def collator() -> SpeechCollator:
    family: Any = KeepingFamily()
    return SpeechCollator(family, "processor", Prompt(user="Listen."))


def row(path: Path, text: str, **fields: Any) -> dict[str, Any]:
    return asdict(Utterance("a", str(path), text, "clips", "gl", "m.jsonl", 1, **fields))


def test_clips_are_decoded_and_put_beside_their_texts(tmp_path: Path, collator: SpeechCollator) -> None:
    rows = [
        row(write_clip(tmp_path / "a.wav", subtype="FLOAT"), "un") | {"length": 50},
        row(write_clip(tmp_path / "b.wav", tone(seconds=0.25, rate=8_000), 8_000), "dous"),
    ]
    batch = collator(rows)
    family: Any = collator.family
    assert batch["labels"].tolist() == [8_000, 4_000]
    assert (family.processor, family.texts, family.prompt) == ("processor", ["un", "dous"], Prompt(user="Listen."))
    np.testing.assert_array_equal(family.audio[0], tone())
    assert family.audio[1].dtype == np.float32


def test_a_clip_that_went_away_is_named(tmp_path: Path, collator: SpeechCollator) -> None:
    with pytest.raises(AudioError, match="gone.wav: no such file"):
        collator([row(tmp_path / "gone.wav", "un")])


def test_parts_and_embedded_recordings_are_heard(tmp_path: Path, collator: SpeechCollator) -> None:
    path = write_clip(tmp_path / "a.wav", tone(seconds=2.0), subtype="FLOAT")
    collator([row(path, "un", offset=0.5, duration=0.25), row(Path("a.wav"), "dous", embedded=path.read_bytes())])
    family: Any = collator.family
    np.testing.assert_array_equal(family.audio[0], tone(seconds=2.0)[8_000:12_000])
    np.testing.assert_array_equal(family.audio[1], tone(seconds=2.0))
