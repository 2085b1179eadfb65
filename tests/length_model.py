"""Provide a model whose text is the length of a clip in samples, and which can be paused between two letters."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models.base import Family, Watch
from escoita.records.training import AdapterRecord, Prompt


SETTINGS = AdapterRecord(language="gl", prompt=Prompt(user="Listen."), max_new_tokens=9)
END = 0
INVALID_SAMPLE = 0.77  # the first sample of a clip that the family refuses


class Tokenizer:
    all_special_ids, all_special_tokens = (END,), ("<end>",)
    added_tokens_decoder: dict[int, Any] = {}


class Processor:
    tokenizer = Tokenizer()


class LengthFamily(Family):
    """Represent a family with a limit of one second."""

    max_audio_seconds = 1.0

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        if any(clip[0] == np.float32(INVALID_SAMPLE) for clip in audio):
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


class LengthModel(torch.nn.Module):
    """Record the lengths of the clips of each batch; `before_letter` is called before each letter."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, most: int = 1000, before_letter: Callable[[], object] = lambda: None):
        super().__init__()
        self.most, self.before_letter = most, before_letter
        self.batches: list[list[int]] = []
        self.generation_config = type("Config", (), {"eos_token_id": END})()

    def generate(self, lengths: torch.Tensor, limit: int, watch: Watch | None) -> torch.Tensor:
        texts = [[*map(ord, str(int(length))), END][:limit] for length in lengths]
        self.batches.append([int(length) for length in lengths])
        tokens: list[list[int]] = [[] for _ in texts]
        active = set(range(len(texts)))
        for place in range(limit):
            if place == 1 and len(texts) > self.most:
                raise torch.OutOfMemoryError("out of memory")
            self.before_letter()
            for row, letters in enumerate(texts):
                token = letters[place] if row in active else END
                tokens[row].append(token)
                continued = watch is None or watch(row, place, token)
                if not continued or token == END:
                    active.discard(row)
            if not active:
                break
        return torch.tensor(tokens)


class Gate:
    """Pause a model before each letter until `letters` is released; `release` opens the gate permanently."""

    def __init__(self) -> None:
        self.letters, self.reached, self.open = threading.Semaphore(0), threading.Semaphore(0), False

    def __call__(self) -> None:
        self.reached.release()
        if not self.open:
            assert self.letters.acquire(timeout=30)

    def wait(self) -> None:
        """Wait until the model reaches a letter."""
        assert self.reached.acquire(timeout=30)

    def release(self) -> None:
        self.open = True
        self.letters.release(1000)


def length_transcriber(model: LengthModel | None = None, batch_seconds: float = 100.0) -> Transcriber:
    return Transcriber(LengthFamily(), model or LengthModel(), Processor(), SETTINGS, batch_seconds)


def clip(samples: int) -> np.ndarray:
    """Return a square wave of 1 kHz, louder five times a second; a constant and a steady tone would be silence."""
    places = np.arange(samples)
    return (np.where(places // 8 % 2, -0.1, 0.1) * np.where(places // 1600 % 2, 0.3, 1.0)).astype(np.float32)
