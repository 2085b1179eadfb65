"""Qwen2-Audio: the encoder of Whisper before a Qwen 2, on the generic path."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from escoita.models.base import whisper_seconds
from escoita.models.chat import ChatFamily, filled
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.small_copy import LAYERS, TEXT, WHISPER, Sizes
from escoita.records.training import Prompt


class Qwen2AudioFamily(ChatFamily):
    """Qwen2-Audio; its extractor pads every clip to what its encoder takes, mostly 30 s, and cuts longer ones."""

    info = BY_MODEL_TYPE["qwen2_audio"]
    end_of_target = "<|im_end|>"
    towers: ClassVar[dict[str, str]] = {"audio": r"audio_tower|multi_modal_projector", "language": r""}
    small_sizes: ClassVar[Sizes] = {
        "qwen2_audio_encoder": WHISPER,
        "qwen2": TEXT | {"max_window_layers": LAYERS},
    }

    def longest_clip(self, processor: Any) -> float:
        """Return what its encoder takes."""
        return whisper_seconds(processor.feature_extractor, self.config.get("audio_config") or {})

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """As any family, with silence after clips of less than two audio tokens, 80 ms."""
        # The library takes one audio token alone for a mark that it is to multiply itself. A token is four frames.
        shortest = 2 * 4 * processor.feature_extractor.hop_length
        clips = [filled(clip, max(0, shortest - len(clip))) for clip in audio]
        return super().encode(processor, clips, prompt)
