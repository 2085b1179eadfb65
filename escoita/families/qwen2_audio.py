"""Qwen2-Audio: the encoder of Whisper before a Qwen 2, on the generic path."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from escoita.families.chat import ChatFamily, filled
from escoita.records import Prompt


SHORTEST = 1_280  # samples: two audio tokens; one alone the library takes for a mark that it is to multiply itself


class Qwen2AudioFamily(ChatFamily):
    """Qwen2-Audio; of every clip its encoder takes 30 s, filled up, and its extractor cuts there without a word."""

    model_types = ("qwen2_audio",)
    end_of_target = "<|im_end|>"
    towers: ClassVar[dict[str, str]] = {"audio": r"audio_tower|multi_modal_projector", "language": r""}

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """As any family, with silence after clips of less than 80 ms."""
        clips = [filled(clip, max(0, SHORTEST - len(clip))) for clip in audio]
        return super().encode(processor, clips, prompt)
