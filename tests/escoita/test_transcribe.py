from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from escoita.errors import AudioError, EscoitaError
from escoita.records import Prompt
from escoita.transcribe import Transcriber, batches_by_length
from tests.escoita.samples import tone, write_clip


class EchoFamily:
    """Says how long each clip of a batch was, and how many stood beside it."""

    max_audio_seconds = 1.0

    def encode(self, processor: Any, audio: list[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        lengths = torch.tensor([[len(clip)] for clip in audio])
        return {"input_ids": torch.zeros(len(audio), 3, dtype=torch.long), "input_features": lengths.double()}

    def decode(self, processor: Any, tokens: torch.Tensor) -> list[str]:
        return [f"{row[0]} of {len(tokens)}" for row in tokens.tolist()]


class EchoModel:
    device, dtype = torch.device("cpu"), torch.float32
    asked: dict[str, Any]

    def eval(self) -> "EchoModel":
        return self

    def generate(self, input_ids: torch.Tensor, input_features: torch.Tensor, **asked: Any) -> torch.Tensor:
        assert input_features.dtype == self.dtype and input_ids.dtype == torch.long
        self.asked = asked
        return torch.cat([input_ids, input_features.long()], dim=1)


def echo(batch_size: int) -> Transcriber:
    family: Any = EchoFamily()
    return Transcriber(family, EchoModel(), None, Prompt(user="Listen."), max_new_tokens=7, batch_size=batch_size)


@given(st.lists(st.integers(0, 1000)), st.integers(1, 9))
def test_batches_hold_every_clip_once_the_longest_first(lengths: list[int], size: int) -> None:
    batches = list(batches_by_length(lengths, size))
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[index] for index in order] == sorted(lengths, reverse=True)
    assert all(len(batch) == size for batch in batches[:-1]) and all(0 < len(batch) <= size for batch in batches)


def test_results_come_in_the_order_of_the_clips() -> None:
    clips = [np.zeros(length, np.float32) for length in (300, 800, 100, 800, 500)]
    heard = echo(batch_size=2).transcribe(clips)
    assert [transcript.text for transcript in heard] == ["300 of 2", "800 of 2", "100 of 1", "800 of 2", "500 of 2"]
    assert [transcript.audio_seconds for transcript in heard] == [len(clip) / 16_000 for clip in clips]


def test_computing_is_shared_out_by_length() -> None:
    first, second = echo(batch_size=2).transcribe([np.zeros(400, np.float32), np.zeros(1200, np.float32)])
    assert first.compute_seconds > 0
    assert second.compute_seconds == pytest.approx(3 * first.compute_seconds)


def test_decoding_is_greedy_and_bounded() -> None:
    transcriber = echo(batch_size=1)
    transcriber.transcribe([np.zeros(10, np.float32)])
    assert transcriber.model.asked == {"max_new_tokens": 7, "do_sample": False}


def test_nothing_in_nothing_out() -> None:
    assert echo(batch_size=2).transcribe([]) == []


def test_a_file(tmp_path: Path) -> None:
    assert echo(batch_size=2).transcribe_file(write_clip(tmp_path / "clip.wav")).text == "8000 of 1"


@pytest.mark.parametrize(
    "samples, reason",
    [
        (tone(seconds=1.5), "1.5 s is over the 1 s that the model hears"),
        (tone(level=0), "nothing can be heard in it"),
    ],
)
def test_a_file_that_cannot_be_heard(tmp_path: Path, samples: np.ndarray, reason: str) -> None:
    with pytest.raises(AudioError) as refusal:
        echo(batch_size=2).transcribe_file(write_clip(tmp_path / "clip.wav", samples))
    assert str(refusal.value) == f"clip.wav: {reason}"


def test_a_base_alone_needs_a_prompt() -> None:
    with pytest.raises(EscoitaError, match="a base alone knows no prompt"):
        Transcriber.load("quickstart/gemma4")
