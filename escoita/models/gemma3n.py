"""Gemma 3n: an audio tower beside the language tower, heard without the packages that its pictures need."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from transformers import AutoModel, Gemma3nForConditionalGeneration, Gemma3nModel, Gemma3nProcessor
from transformers.models.gemma3n.modeling_gemma3n import Gemma3nMultimodalEmbedder, Gemma3nPreTrainedModel
from transformers.processing_utils import ProcessorMixin

from escoita.audio.loading import SAMPLING_RATE
from escoita.models.base import cut_seconds
from escoita.models.chat import ChatFamily, filled
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.small_copy import LAYERS, TEXT, WIDTH, Sizes
from escoita.records.training import Prompt


SILENCE = 2_048  # samples: a transform, and the frames after the last one that the tower looks at


class Gemma3nAudioProcessor(Gemma3nProcessor):
    """
    [`Gemma3nProcessor`] for audio and text alone.

    The image processor of the library needs torchvision; speech does not.

    Args:
        feature_extractor ([`Gemma3nAudioFeatureExtractor`]): Turns samples at 16 kHz into log-mel frames.
        tokenizer ([`GemmaTokenizer`]): With the audio tokens of Gemma 3n.
        chat_template (`str`, *optional*): Jinja source of the chat format.
        audio_seq_length (`int`, *optional*, defaults to 188): Audio tokens of every clip, however short.
    """

    def __init__(self, feature_extractor, tokenizer, chat_template=None, audio_seq_length=188, **kwargs):
        self.audio_seq_length = audio_seq_length
        for name in ("boa_token", "eoa_token", "audio_token", "audio_token_id"):
            setattr(self, name, getattr(tokenizer, name))
        self.full_audio_sequence = f"\n\n{self.boa_token}{self.audio_token * audio_seq_length}{self.eoa_token}\n\n"
        self.image_token = self.image_token_id = None
        ProcessorMixin.__init__(
            self, feature_extractor=feature_extractor, tokenizer=tokenizer, chat_template=chat_template
        )

    @property
    def model_input_names(self):
        """What the tokenizer and the extractor make."""
        return [*self.tokenizer.model_input_names, "token_type_ids", *self.feature_extractor.model_input_names]


class Gemma3nHearing(Gemma3nModel):
    """[`Gemma3nModel`] without its vision tower, which would need timm and torchvision and is never asked."""

    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"vision_tower"]

    def __init__(self, config):
        Gemma3nPreTrainedModel.__init__(self, config)
        text, audio, vision = config.text_config, config.audio_config, config.vision_config
        self.vocab_size, self.vocab_size_per_layer_input = text.vocab_size, text.vocab_size_per_layer_input
        self.language_model, self.audio_tower = AutoModel.from_config(text), AutoModel.from_config(audio)
        # The tokens that stand for pictures have their embeddings here; every text is looked up in them too.
        self.embed_vision = Gemma3nMultimodalEmbedder(vision, text)
        self.embed_audio = Gemma3nMultimodalEmbedder(audio, text)
        self.post_init()


class Gemma3nHearingForConditionalGeneration(Gemma3nForConditionalGeneration):
    """[`Gemma3nForConditionalGeneration`] on [`Gemma3nHearing`]; its parameters have the same names."""

    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"vision_tower"]

    def __init__(self, config):
        Gemma3nPreTrainedModel.__init__(self, config)
        self.model = Gemma3nHearing(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()


class Gemma3nFamily(ChatFamily):
    """
    Gemma 3n.

    Its extractor cuts longer clips without a message. Each clip takes `audio_soft_tokens_per_image` tokens, mostly
    188; those that it does not fill stand for nothing.
    """

    info = BY_MODEL_TYPE["gemma3n"]
    end_of_target = "<end_of_turn>"
    towers: ClassVar[dict[str, str]] = {"audio": r"audio_tower|embed_audio", "vision": r"vision", "language": r""}
    small_sizes: ClassVar[Sizes] = {
        "gemma3n_text": TEXT | {"hidden_size_per_layer_input": 4, "num_kv_shared_layers": 0, "laurel_rank": 4},
        "gemma3n_audio": {"hidden_size": WIDTH, "conf_num_hidden_layers": LAYERS, "conf_num_attention_heads": 2},
        "gemma3n_vision": {"hidden_size": WIDTH},
    }

    def longest_clip(self, processor: Any) -> float:
        """Return the seconds at which the extractor cuts, or those that the audio tokens stand for, if fewer."""
        extractor, audio = processor.feature_extractor, self.config.get("audio_config") or {}
        strides = [time for time, _ in audio.get("sscp_conv_stride_size", ((2, 2), (2, 2)))]
        samples = extractor.hop_length * math.prod(strides) * audio.get("conf_reduction_factor", 4)
        tokens = self.config.get("audio_soft_tokens_per_image", 188)
        if tokens != processor.audio_seq_length:
            written = processor.audio_seq_length
            raise ValueError(f"it writes {written} audio tokens for every clip, but the model takes {tokens}")
        return min(cut_seconds(extractor), tokens * samples / extractor.sampling_rate)

    def read_processor(self, source: str, revision: str | None = None) -> Gemma3nAudioProcessor:
        """The audio and text parts alone, from wherever the full processor is stored."""
        return Gemma3nAudioProcessor.from_pretrained(source, revision=revision)

    @property
    def loader(self) -> Any:
        """The base without its vision tower."""
        return Gemma3nHearingForConditionalGeneration

    def from_config(self, config: Any) -> Any:
        """Make the model without its vision tower."""
        return Gemma3nHearingForConditionalGeneration(config)

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """As any family, with some silence after each clip that is seen but not listened to, alone or in a batch."""
        longest = int(self.max_audio_seconds * SAMPLING_RATE)  # and then there is nothing longer beside it
        batch = super().encode(processor, [filled(clip, SILENCE)[:longest] for clip in audio], prompt)
        # The extractor's own mask ends a few frames earlier where a clip has no padding.
        ends = torch.tensor([-(-len(clip) // processor.feature_extractor.hop_length) for clip in audio])
        batch["input_features_mask"] = torch.arange(batch["input_features"].shape[1])[None] < ends[:, None]
        return batch
