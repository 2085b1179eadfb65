from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from escoita.data.rows import Utterance
from escoita.errors import AudioError
from escoita.models.trainable import Row
from escoita.records.training import AdapterRecord, Prompt
from escoita.training.data_collator import SECONDS, SpeechCollator, TooManyTokensError, WorkerError
from tests.samples import tone, write_clip


SETTINGS = AdapterRecord(language="gl", prompt=Prompt(user="Listen."))


class RecordingFamily:
    """Record the arguments of the encoding."""

    def encode_with_targets(self, processor: Any, audio: list[np.ndarray], texts: list[str], settings: Any) -> Any:
        self.processor, self.audio, self.texts, self.settings = processor, audio, texts, settings
        lengths = torch.tensor([len(clip) for clip in audio])
        return {"labels": lengths}

    def rows(self, batch: dict[str, torch.Tensor]) -> list[Row]:
        """Return one token for each tenth of a second."""
        return [Row([0] * round(length / 1600), []) for length in batch["labels"].tolist()]


@pytest.fixture
def collator() -> SpeechCollator:
    family: Any = RecordingFamily()
    return SpeechCollator(family, "processor", SETTINGS)


def row(path: Path, text: str, **fields: Any) -> dict[str, Any]:
    return asdict(Utterance("a", str(path), text, "clips", "gl", "m.jsonl", 1, **fields))


def test_clips_are_decoded_and_encoded_with_their_texts(tmp_path: Path, collator: SpeechCollator) -> None:
    rows = [
        row(write_clip(tmp_path / "a.wav", subtype="FLOAT"), "un") | {"length": 50},
        row(write_clip(tmp_path / "b.wav", tone(seconds=0.25, rate=8_000), 8_000), "dous"),
    ]
    batch = collator(rows)
    family: Any = collator.family
    assert batch["labels"].tolist() == [8_000, 4_000]
    assert batch[SECONDS].tolist() == [0.5, 0.25]
    assert (family.processor, family.texts, family.settings) == ("processor", ["un", "dous"], SETTINGS)
    np.testing.assert_array_equal(family.audio[0], tone())
    assert family.audio[1].dtype == np.float32


def test_a_missing_clip_is_refused(tmp_path: Path, collator: SpeechCollator) -> None:
    with pytest.raises(AudioError) as error:
        collator([row(tmp_path / "gone.wav", "un")])
    assert "gone.wav" in str(error.value)


def test_segments_and_embedded_recordings_are_decoded(tmp_path: Path, collator: SpeechCollator) -> None:
    path = write_clip(tmp_path / "a.wav", tone(seconds=2.0), subtype="FLOAT")
    collator([row(path, "un", offset=0.5, duration=0.25), row(Path("a.wav"), "dous", embedded=path.read_bytes())])
    family: Any = collator.family
    np.testing.assert_array_equal(family.audio[0], tone(seconds=2.0)[8_000:12_000])
    np.testing.assert_array_equal(family.audio[1], tone(seconds=2.0))


def test_a_clip_with_too_many_tokens_is_refused(tmp_path: Path, collator: SpeechCollator) -> None:
    rows = [row(write_clip(tmp_path / f"{name}.wav", tone(seconds=seconds)), "un") for name, seconds in CLIPS.items()]
    collator.max_length = 20
    collator(rows)
    collator.max_length = 19
    with pytest.raises(TooManyTokensError) as error:
        collator(rows)
    assert (error.value.path, error.value.row, error.value.value) == ("m.jsonl", 1, str(tmp_path / "long.wav"))
    assert (error.value.tokens, error.value.limit) == (20, 19)


CLIPS = {"short": 0.5, "long": 2.0}


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_is_one_line_in_every_process(tmp_path: Path, collator: SpeechCollator, workers: int) -> None:
    rows: Any = [row(write_clip(tmp_path / "a.wav"), "un"), row(tmp_path / "gone\nagain.wav", "un")]
    loader = iter(DataLoader(rows, collate_fn=collator, num_workers=workers))
    assert next(loader)[SECONDS].tolist() == [0.5]
    with pytest.raises(WorkerError if workers else AudioError) as error:
        next(loader)
    assert "gone<U+000A>again.wav" in str(error.value)
    assert "\n" not in str(error.value) and "Traceback" not in str(error.value)
