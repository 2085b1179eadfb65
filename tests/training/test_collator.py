from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

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


def test_clips_are_decoded_and_put_beside_their_texts(tmp_path: Path, collator: SpeechCollator) -> None:
    rows: list[dict[str, Any]] = [
        {"audio": str(write_clip(tmp_path / "a.wav", subtype="FLOAT")), "text": "un", "length": 50},
        {"audio": str(write_clip(tmp_path / "b.wav", tone(seconds=0.25, rate=8_000), 8_000)), "text": "dous"},
    ]
    batch = collator(rows)
    family: Any = collator.family
    assert batch["labels"].tolist() == [8_000, 4_000]
    assert (family.processor, family.texts, family.prompt) == ("processor", ["un", "dous"], Prompt(user="Listen."))
    np.testing.assert_array_equal(family.audio[0], tone())
    assert family.audio[1].dtype == np.float32


def test_a_clip_that_went_away_is_named(tmp_path: Path, collator: SpeechCollator) -> None:
    with pytest.raises(AudioError, match="gone.wav: no such file"):
        collator([{"audio": str(tmp_path / "gone.wav"), "text": "un"}])
