"""Support Moonshine, an encoder-decoder on samples for one language, as a baseline."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.models.base import Family, Watch
from escoita.records.training import AdapterRecord, Prompt


# The limit that the card of UsefulSensors/moonshine-base recommends; more text for short audio is a repetition loop.
TOKENS_PER_SECOND = 6.5


class MoonshineFamily(Family):
    """Support Moonshine, whose checkpoints each transcribe one language."""

    auto_model = "AutoModelForSpeechSeq2Seq"

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Return the samples of each clip, and their mask."""
        return dict(
            processor.feature_extractor(
                list(audio),
                sampling_rate=SAMPLING_RATE,
                return_tensors="pt",
                padding=True,
                return_attention_mask=True,
            )
        )

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """Transcribe a batch, with at most 6.5 tokens for each second of its longest clip."""
        longest = int(inputs["attention_mask"].sum(dim=1).max()) / SAMPLING_RATE
        limit = min(self.most_tokens(model, settings), max(1, math.ceil(TOKENS_PER_SECOND * longest)))
        output = model.generate(**inputs, max_new_tokens=limit, do_sample=False)
        return output[:, 1:]  # without the start token of the decoder

    def most_tokens(self, model: Any, settings: AdapterRecord) -> int:
        """Return the configured token limit, but at most the positions of the decoder after its start token."""
        return min(settings.max_new_tokens, int(model.config.max_position_embeddings) - 1)
