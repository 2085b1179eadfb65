"""Support Qwen3-ASR, whose user prompt is the name of the language in a fixed format."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from escoita.errors import EscoitaError
from escoita.models.chat import ChatFamily, pad_with_silence
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.small_copy import LAYERS, TEXT, WHISPER, WIDTH, Sizes
from escoita.records.training import Prompt


START = "<asr_text>"


class Qwen3AsrFamily(ChatFamily):
    """Support Qwen3-ASR in the layout of Transformers, whose repository names end with `-hf`."""

    info = BY_MODEL_TYPE["qwen3_asr"]
    end_of_target = "<|im_end|>"
    towers: ClassVar[dict[str, str]] = {"audio": r"audio_tower|multi_modal_projector", "language": r""}
    small_sizes: ClassVar[Sizes] = {
        "qwen3_asr_encoder": WHISPER | {"downsample_hidden_size": 4, "output_dim": WIDTH},
        "qwen3": TEXT | {"max_window_layers": LAYERS},
    }

    def render(self, processor: Any, prompt: Prompt) -> str:
        """
        Return the prompt with expected words in the system turn, and the user prompt at the start of the answer.

        Raises:
            EscoitaError: The user prompt is not in the format of Qwen3-ASR.
        """
        if not (prompt.user.startswith("language ") and prompt.user.endswith(START)):
            hint = f"use 'language Galician{START}', with the name of your language, or 'language None{START}'"
            raise EscoitaError("not a prompt of Qwen3-ASR", key="prompt.user", value=prompt.user, hint=hint)
        return super().render(processor, Prompt(system=prompt.system, user="")) + prompt.user

    def baseline_prompt(self, language: str) -> Prompt:
        """Return the prompt that names the language, or that asks to detect one that the model does not support."""
        from transformers.models.qwen3_asr.processing_qwen3_asr import LANGUAGE_CODE_TO_NAME

        from escoita.utils.languages import matching

        code = matching(language, LANGUAGE_CODE_TO_NAME)
        return Prompt(user=f"language {LANGUAGE_CODE_TO_NAME[code] if code else None}{START}")

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Pad each clip with silence, and encode the batch with zeros as padding."""
        extractor = processor.feature_extractor
        # The last transform extends beyond the clip by half its length.
        clips = [pad_with_silence(clip, extractor.n_fft // 2, extractor.hop_length) for clip in audio]
        batch = super().encode(processor, clips, prompt)
        batch["input_features"] *= batch["input_features_mask"][:, None]
        return batch
