"""A model that says how long each clip is, letter by letter, and can be held between two letters."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models.base import Family, Watch
from escoita.records.training import AdapterRecord, Prompt


SPOKEN = AdapterRecord(language="gl", prompt=Prompt(user="Listen."), max_new_tokens=9)
END = 0
POISON = 0.77  # a first sample that no feature extractor takes


class Tokenizer:
    all_special_ids, all_special_tokens = (END,), ("<end>",)
    added_tokens_decoder: dict[int, Any] = {}


class Processor:
    tokenizer = Tokenizer()


class TalkerFamily(Family):
    """Hears a second at once."""

    max_audio_seconds = 1.0

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        if any(clip[0] == np.float32(POISON) for clip in audio):
            raise EscoitaError("a clip that no extractor takes")
        return {"input_features": torch.tensor([[len(clip)] for clip in audio]).double()}

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        return model.generate(inputs["input_features"], settings.max_new_tokens, watch)

    def decode(self, processor: Any, tokens: torch.Tensor) -> list[str]:
        return ["".join(chr(token) for token in row if token) for row in tokens.tolist()]


class TalkerModel(torch.nn.Module):
    """Keeps the sizes of its batches; `before_letter` is called before each letter."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, most: int = 1000, before_letter: Callable[[], object] = lambda: None):
        super().__init__()
        self.most, self.before_letter = most, before_letter
        self.batches: list[list[int]] = []
        self.generation_config = type("Config", (), {"eos_token_id": END})()

    def generate(self, lengths: torch.Tensor, limit: int, watch: Watch | None) -> torch.Tensor:
        said = [[*map(ord, str(int(length))), END][:limit] for length in lengths]
        self.batches.append([int(length) for length in lengths])
        tokens: list[list[int]] = [[] for _ in said]
        going = set(range(len(said)))
        for place in range(limit):
            if place == 1 and len(said) > self.most:
                raise torch.OutOfMemoryError("out of memory")
            self.before_letter()
            for row, letters in enumerate(said):
                token = letters[place] if row in going else END
                tokens[row].append(token)
                on = watch is None or watch(row, place, token)
                if not on or token == END:
                    going.discard(row)
            if not going:
                break
        return torch.tensor(tokens)


class Gate:
    """Lets a model say one letter for each time that it is opened; open for good in the end."""

    def __init__(self) -> None:
        self.letters, self.reached, self.open = threading.Semaphore(0), threading.Semaphore(0), False

    def __call__(self) -> None:
        self.reached.release()
        if not self.open:
            assert self.letters.acquire(timeout=30)

    def wait(self) -> None:
        """Until the model is about to say a letter."""
        assert self.reached.acquire(timeout=30)

    def release(self) -> None:
        self.open = True
        self.letters.release(1000)


def talker(model: TalkerModel | None = None, batch_seconds: float = 100.0) -> Transcriber:
    return Transcriber(TalkerFamily(), model or TalkerModel(), Processor(), SPOKEN, batch_seconds)


def clip(samples: int) -> np.ndarray:
    """A square wave of 1 kHz; a constant would be silence."""
    return np.where(np.arange(samples) // 8 % 2, -0.1, 0.1).astype(np.float32)
