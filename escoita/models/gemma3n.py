"""Support Gemma 3n without the packages of its vision tower."""

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
from escoita.models.chat import ChatFamily, pad_with_silence
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.small_copy import LAYERS, TEXT, WIDTH, Sizes
from escoita.records.training import Prompt


SILENCE = 2_048  # samples: a transform, and the frames after the last one that the tower attends to


class Gemma3nAudioProcessor(Gemma3nProcessor):
    """
    Process audio and text like [`Gemma3nProcessor`], without its image processor, which needs torchvision.

    Args:
        feature_extractor ([`Gemma3nAudioFeatureExtractor`]): The extractor of log-mel frames from samples at 16 kHz.
        tokenizer ([`GemmaTokenizer`]): The tokenizer with the audio tokens of Gemma 3n.
        chat_template (`str`, *optional*): The Jinja source of the chat template.
        audio_seq_length (`int`, *optional*, defaults to 188): The number of audio tokens of every clip.
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
        """Return the names of the outputs of tokenizer and extractor."""
        return [*self.tokenizer.model_input_names, "token_type_ids", *self.feature_extractor.model_input_names]


class Gemma3nSpeechModel(Gemma3nModel):
    """Define [`Gemma3nModel`] without its vision tower, which would need timm and torchvision."""

    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"vision_tower"]

    def __init__(self, config):
        Gemma3nPreTrainedModel.__init__(self, config)
        text, audio, vision = config.text_config, config.audio_config, config.vision_config
        self.vocab_size, self.vocab_size_per_layer_input = text.vocab_size, text.vocab_size_per_layer_input
        self.language_model, self.audio_tower = AutoModel.from_config(text), AutoModel.from_config(audio)
        # This module embeds the image tokens; the library also looks up the tokens of every text in it.
        self.embed_vision = Gemma3nMultimodalEmbedder(vision, text)
        self.embed_audio = Gemma3nMultimodalEmbedder(audio, text)
        self.post_init()


class Gemma3nSpeechForConditionalGeneration(Gemma3nForConditionalGeneration):
    """Define [`Gemma3nForConditionalGeneration`] with [`Gemma3nSpeechModel`] and the same parameter names."""

    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"vision_tower"]

    def __init__(self, config):
        Gemma3nPreTrainedModel.__init__(self, config)
        self.model = Gemma3nSpeechModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()


class Gemma3nFamily(ChatFamily):
    """
    Support Gemma 3n.

    The extractor cuts longer clips without a message. Each clip takes `audio_soft_tokens_per_image` tokens, mostly
    188; the tokens after the end of the clip are padding.
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
        """Return the length at which the extractor cuts, or the length of the audio tokens if it is shorter."""
        extractor, audio = processor.feature_extractor, self.config.get("audio_config") or {}
        strides = [time for time, _ in audio.get("sscp_conv_stride_size", ((2, 2), (2, 2)))]
        samples = extractor.hop_length * math.prod(strides) * audio.get("conf_reduction_factor", 4)
        tokens = self.config.get("audio_soft_tokens_per_image", 188)
        if tokens != processor.audio_seq_length:
            written = processor.audio_seq_length
            raise ValueError(f"writes {written} audio tokens for every clip, but the model expects {tokens}")
        return min(cut_seconds(extractor), tokens * samples / extractor.sampling_rate)

    def read_processor(self, source: str, revision: str | None = None) -> Gemma3nAudioProcessor:
        """Create the audio and text processor from the files of the full processor."""
        return Gemma3nAudioProcessor.from_pretrained(source, revision=revision)

    @property
    def loader(self) -> Any:
        """Return the class without the vision tower."""
        return Gemma3nSpeechForConditionalGeneration

    def from_config(self, config: Any) -> Any:
        """Create the model without its vision tower."""
        return Gemma3nSpeechForConditionalGeneration(config)

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Append masked silence to each clip, so that its encoding does not depend on the batch."""
        longest = int(self.max_audio_seconds * SAMPLING_RATE)  # a clip of this length is never padded
        batch = super().encode(processor, [pad_with_silence(clip, SILENCE)[:longest] for clip in audio], prompt)
        # The mask of the extractor ends a few frames earlier for a clip without padding.
        ends = torch.tensor([-(-len(clip) // processor.feature_extractor.hop_length) for clip in audio])
        batch["input_features_mask"] = torch.arange(batch["input_features"].shape[1])[None] < ends[:, None]
        return batch
