"""Qwen3-ASR: told a language and nothing else, in words of its own."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from escoita.errors import EscoitaError
from escoita.models.chat import ChatFamily, filled
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.small_copy import LAYERS, TEXT, WHISPER, WIDTH, Sizes
from escoita.records.training import Prompt


START = "<asr_text>"


class Qwen3AsrFamily(ChatFamily):
    """Qwen3-ASR in the layout of Transformers, whose repositories end with `-hf`."""

    info = BY_MODEL_TYPE["qwen3_asr"]
    end_of_target = "<|im_end|>"
    towers: ClassVar[dict[str, str]] = {"audio": r"audio_tower|multi_modal_projector", "language": r""}
    small_sizes: ClassVar[Sizes] = {
        "qwen3_asr_encoder": WHISPER | {"downsample_hidden_size": 4, "output_dim": WIDTH},
        "qwen3": TEXT | {"max_window_layers": LAYERS},
    }

    def render(self, processor: Any, prompt: Prompt) -> str:
        """
        The system turn holds words to expect; what is told beside the audio begins the assistant's turn.

        Raises:
            EscoitaError: It is not told a language as it was in its own training.
        """
        if not (prompt.user.startswith("language ") and prompt.user.endswith(START)):
            raise EscoitaError(
                f"prompt.user: {prompt.user!r} is nothing that Qwen3-ASR knows; write 'language Galician{START}',"
                f" with the name of your language, or 'language None{START}'"
            )
        return super().render(processor, Prompt(system=prompt.system, user="")) + prompt.user

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """As any family, of clips that end in silence, and with nothing after it, alone or beside longer ones."""
        extractor = processor.feature_extractor
        # A transform reaches over the end of a clip by half its length.
        clips = [filled(clip, extractor.n_fft // 2, extractor.hop_length) for clip in audio]
        batch = super().encode(processor, clips, prompt)
        batch["input_features"] *= batch["input_features_mask"][:, None]
        return batch
