"""Support Parakeet, a FastConformer with a CTC head or with a transducer (RNN-T, TDT), as a baseline."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.models.base import Family, Watch
from escoita.records.training import AdapterRecord, Prompt


class ParakeetCtcFamily(Family):
    """Support Parakeet with a CTC head over subwords, whose language follows from the audio."""

    auto_model = "AutoModelForCTC"
    beam_search = False
    token_limit = False

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Return the log-mel frames of each clip, and their mask."""
        return dict(
            processor.feature_extractor(
                list(audio), sampling_rate=SAMPLING_RATE, return_tensors="pt", return_attention_mask=True
            )
        )

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """Return the most probable subword of each frame, and the blank for padding frames."""
        tokens: torch.Tensor = model.generate(**inputs)
        return tokens

    def most_tokens(self, model: Any, settings: AdapterRecord) -> float:
        """Return infinity, because the length of a transcript follows from the number of frames."""
        return math.inf

    def token_counts(self, processor: Any, tokens: torch.Tensor) -> list[int]:
        """Return the number of subwords of each row; repeated ones without a blank between them are one."""
        blank = processor.tokenizer.pad_token_id
        return [int((row.unique_consecutive() != blank).sum()) for row in tokens]


class ParakeetTransducerFamily(ParakeetCtcFamily):
    """Support Parakeet with a transducer, which writes subwords while it moves over the frames."""

    @property
    def loader(self) -> Any:
        """Return the class of the stored model type, as no class of transformers loads both types."""
        import transformers

        name = "ParakeetForTDT" if self.config.get("model_type") == "parakeet_tdt" else "ParakeetForRNNT"
        return getattr(transformers, name)

    def from_config(self, config: Any) -> Any:
        """Create a model with random weights from a configuration."""
        return self.loader(config)

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """Return the written subwords and blanks, without beams; a transcript ends with the last frame."""
        output = model.generate(**inputs, do_sample=False)
        # A row continues to write after its last frame until all rows are complete.
        frames = model._get_output_attention_mask(inputs["attention_mask"]).sum(dim=1)
        starts = output.durations.cumsum(dim=1) - output.durations
        tokens: torch.Tensor = output.sequences.masked_fill(starts >= frames[:, None], model.config.pad_token_id)
        return tokens

    def token_counts(self, processor: Any, tokens: torch.Tensor) -> list[int]:
        """Return the number of subwords of each row."""
        unwritten = [processor.tokenizer.pad_token_id, processor.blank_token_id]
        return [int((~torch.isin(row, torch.tensor(unwritten))).sum()) for row in tokens]
