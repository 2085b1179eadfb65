"""Support Gemma 4 without an audio tower: the 12B model, which reads the samples of a recording directly."""

from typing import Any, ClassVar

from transformers import Gemma4UnifiedProcessor

from escoita.models.chat import ChatFamily
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.gemma4 import Gemma4AudioProcessor
from escoita.models.small_copy import TEXT, WIDTH, Sizes


class Gemma4UnifiedAudioProcessor(Gemma4UnifiedProcessor):
    """Process audio and text like [`Gemma4UnifiedProcessor`], without the processors that need torchvision."""

    __init__ = Gemma4AudioProcessor.__init__
    validate_inputs = Gemma4AudioProcessor.validate_inputs


class Gemma4UnifiedFamily(ChatFamily):
    """
    Support Gemma 4 without an audio tower.

    A token of audio is 40 ms of samples, which one matrix projects to the width of the language model. The extractor
    does not truncate clips; the limit is the number of audio tokens that the processor states.
    """

    info = BY_MODEL_TYPE["gemma4_unified"]
    end_of_target = "<turn|>"
    towers: ClassVar[dict[str, str]] = {"audio": r"embed_audio", "vision": r"vision", "language": r""}
    small_sizes: ClassVar[Sizes] = {
        "gemma4_unified_text": TEXT | {"global_head_dim": 16, "num_kv_shared_layers": 0},
        "gemma4_unified_audio": {},  # one matrix, whose input is the frame of the extractor
        "gemma4_unified_vision": {"mm_embed_dim": WIDTH, "output_proj_dims": WIDTH},
    }

    def longest_clip(self, processor: Any) -> float:
        """Return the length of the maximum number of audio tokens."""
        return processor.audio_seq_length * processor.audio_ms_per_token / 1000

    def read_processor(self, source: str, revision: str | None = None) -> Gemma4UnifiedAudioProcessor:
        """Create the audio and text processor from the files of the full processor."""
        return Gemma4UnifiedAudioProcessor.from_pretrained(source, revision=revision)
