"""Support Gemma 4 with a processor that does not need torchvision."""

from typing import Any, ClassVar

from transformers import Gemma4Processor
from transformers.processing_utils import ProcessorMixin

from escoita.models.base import cut_seconds
from escoita.models.chat import ChatFamily
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.small_copy import LAYERS, TEXT, WIDTH, Sizes


class Gemma4AudioProcessor(Gemma4Processor):
    """
    Process audio and text like [`Gemma4Processor`], without its video processor, which needs torchvision.

    Args:
        feature_extractor ([`Gemma4AudioFeatureExtractor`]): The extractor of log-mel frames from samples at 16 kHz.
        tokenizer ([`GemmaTokenizer`]): The tokenizer with the audio tokens of Gemma 4.
        chat_template (`str`, *optional*): The Jinja source of the chat template.
        image_seq_length (`int`, *optional*, defaults to 280): An argument of the library, which is not used.
        audio_seq_length (`int`, *optional*, defaults to 750): The maximum number of audio tokens of a clip.
        audio_ms_per_token (`int`, *optional*, defaults to 40): The milliseconds of audio per token.
    """

    def __init__(
        self,
        feature_extractor,
        tokenizer,
        chat_template=None,
        image_seq_length=280,
        audio_seq_length=750,
        audio_ms_per_token=40,
        **kwargs,
    ):
        self.image_seq_length = image_seq_length
        self.audio_seq_length = audio_seq_length
        self.audio_ms_per_token = audio_ms_per_token
        self.image_token = self.image_token_id = self.video_token = self.video_token_id = None
        for name in ("boi_token", "eoi_token", "audio_token", "boa_token", "eoa_token", "audio_token_id"):
            setattr(self, name, getattr(tokenizer, name))
        ProcessorMixin.__init__(
            self, feature_extractor=feature_extractor, tokenizer=tokenizer, chat_template=chat_template
        )

    def validate_inputs(self, images=None, text=None, videos=None, audio=None, **kwargs):
        """Skip the check of transformers 5.17 that counts image tokens."""
        ProcessorMixin.validate_inputs(self, images=images, text=text, videos=videos, audio=audio, **kwargs)


class Gemma4Family(ChatFamily):
    """
    Support Gemma 4 with an audio tower.

    The extractor truncates clips over its maximum length without a message, and the processor inserts at most
    `audio_seq_length` audio tokens. Clips must therefore not exceed these limits.
    """

    info = BY_MODEL_TYPE["gemma4"]
    end_of_target = "<turn|>"
    towers: ClassVar[dict[str, str]] = {"audio": r"audio_tower|embed_audio", "vision": r"vision", "language": r""}
    small_sizes: ClassVar[Sizes] = {
        "gemma4_text": TEXT
        | {
            "global_head_dim": 16,
            "hidden_size_per_layer_input": 4,
            "num_kv_shared_layers": 0,
            "num_experts": 2,
            "top_k_experts": 1,
            "moe_intermediate_size": 16,
        },
        "gemma4_audio": {
            "hidden_size": WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 2,
            "output_proj_dims": WIDTH,
        },
        "gemma4_vision": TEXT | {"num_key_value_heads": 2},
    }

    def longest_clip(self, processor: Any) -> float:
        """Return the length at which the extractor cuts, or the length of the audio tokens if it is shorter."""
        tokens = processor.audio_seq_length * processor.audio_ms_per_token / 1000
        return min(cut_seconds(processor.feature_extractor), tokens)

    def read_processor(self, source: str, revision: str | None = None) -> Gemma4AudioProcessor:
        """Create the audio and text processor from the files of the full processor."""
        return Gemma4AudioProcessor.from_pretrained(source, revision=revision)
