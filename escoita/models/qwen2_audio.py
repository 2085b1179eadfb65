"""Support Qwen2-Audio."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from escoita.models.base import whisper_seconds
from escoita.models.chat import ChatFamily, pad_with_silence
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.small_copy import LAYERS, TEXT, WHISPER, Sizes
from escoita.records.training import Prompt


class Qwen2AudioFamily(ChatFamily):
    """Support Qwen2-Audio, whose extractor pads or cuts every clip to the input length of the encoder, mostly 30 s."""

    info = BY_MODEL_TYPE["qwen2_audio"]
    end_of_target = "<|im_end|>"
    towers: ClassVar[dict[str, str]] = {"audio": r"audio_tower|multi_modal_projector", "language": r""}
    small_sizes: ClassVar[Sizes] = {
        "qwen2_audio_encoder": WHISPER,
        "qwen2": TEXT | {"max_window_layers": LAYERS},
    }

    def longest_clip(self, processor: Any) -> float:
        """Return the input length of the encoder."""
        return whisper_seconds(processor.feature_extractor, self.config.get("audio_config") or {})

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Pad clips of less than two audio tokens (80 ms) with silence, and encode the batch."""
        # The library expands a single audio token, which it takes for a placeholder. A token has four frames.
        shortest = 2 * 4 * processor.feature_extractor.hop_length
        clips = [pad_with_silence(clip, max(0, shortest - len(clip))) for clip in audio]
        return super().encode(processor, clips, prompt)
