"""Support Whisper."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.models.base import Family, Watch, whisper_seconds
from escoita.records.training import AdapterRecord, Prompt
from escoita.utils.languages import matching


class WhisperFamily(Family):
    """Support Whisper (Radford et al. 2022), which detects the language if it is not given or not supported."""

    auto_model = "AutoModelForSpeechSeq2Seq"
    # Each segment takes as long as 30 s, and was trained with pauses.
    longest_pause = 2.0

    def longest_clip(self, processor: Any) -> float:
        """Return the input length of the encoder."""
        return whisper_seconds(processor.feature_extractor, self.config)

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Return the log-mel frames of each clip, padded to 30 s, and their mask."""
        features = processor.feature_extractor(
            list(audio), sampling_rate=SAMPLING_RATE, return_tensors="pt", return_attention_mask=True
        )
        return dict(features)

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """Transcribe a batch without timestamps and without temperature fallback."""
        code = matching(settings.language, _languages(model))
        request = {"language": code, "task": "transcribe"} if code else {}
        # Whisper adds `max_length` to the length of its prompt; `max_new_tokens` is equivalent, but logs a warning.
        limit = self.most_tokens(model, settings)
        return model.generate(**inputs, **request, max_length=limit, do_sample=False)

    def most_tokens(self, model: Any, settings: AdapterRecord) -> int:
        """Return the configured token limit, but at most the positions of the decoder."""
        return min(settings.max_new_tokens, self.own_limit(model))

    def own_limit(self, model: Any) -> int:
        """Return the positions of the decoder without the four of its prompt."""
        return int(model.config.max_target_positions) - 4

    def per_language(self, model: Any, processor: Any) -> bool:
        """Return whether the model supports several languages; an English model takes no language."""
        return bool(_languages(model))


def _languages(model: Any) -> list[str]:
    """Return the codes of the languages of a Whisper model."""
    return [token.strip("<|>") for token in getattr(model.generation_config, "lang_to_id", None) or {}]
