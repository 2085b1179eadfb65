"""Support Voxtral with the tokenizer of Mistral, but without its package."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from transformers import BatchFeature, PreTrainedTokenizerFast, VoxtralProcessor, WhisperFeatureExtractor

from escoita.errors import EscoitaError
from escoita.hub.files import file_if_any, local_file
from escoita.models.base import whisper_seconds
from escoita.models.chat import ChatFamily
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.small_copy import LAYERS, TEXT, WIDTH, Sizes
from escoita.records.training import Prompt


NAMED = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


class VoxtralAudioProcessor(VoxtralProcessor):
    """
    Process text with audio, as other processors do.

    The [`VoxtralProcessor`] of the library needs `mistral-common` for it, and does not return the text, so that no
    transcript could be appended.

    Args:
        feature_extractor ([`WhisperFeatureExtractor`]): The extractor of 3,000 log-mel frames from 30 s at 16 kHz.
        tokenizer ([`PreTrainedTokenizerFast`]): The tokenizer from `tekken.json`.
        frames_per_token (`int`, *optional*, defaults to 8): The number of log-mel frames per audio token.
    """

    def __init__(self, feature_extractor, tokenizer, frames_per_token=8):
        self.frames_per_token = frames_per_token
        super().__init__(feature_extractor, tokenizer)

    def __call__(
        self, text: Sequence[str], audio: Sequence[np.ndarray], sampling_rate: int, **kwargs: Any
    ) -> BatchFeature:
        """Return the features of clips padded to 30 s, and the tokens of texts with the audio tokens of each clip."""
        features = self.feature_extractor(audio, sampling_rate=sampling_rate, return_tensors="pt")
        tokens = self.audio_token * (features["input_features"].shape[-1] // self.frames_per_token)
        texts = [one.replace(self.audio_token, tokens) for one in text]
        return BatchFeature({**self.tokenizer(texts, **kwargs), **features})


class VoxtralFamily(ChatFamily):
    """Support Voxtral, whose extractor pads or cuts every clip to the input length of the encoder, mostly 30 s."""

    info = BY_MODEL_TYPE["voxtral"]
    end_of_target = "</s>"
    audio_placeholder = "[AUDIO]"
    towers: ClassVar[dict[str, str]] = {"audio": r"audio_tower|multi_modal_projector", "language": r""}
    small_sizes: ClassVar[Sizes] = {
        "voxtral": {"hidden_size": WIDTH},
        "voxtral_encoder": {
            "hidden_size": WIDTH,
            "intermediate_size": 4 * WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 2,
        },
        "llama": TEXT,
    }

    def longest_clip(self, processor: Any) -> float:
        """Return the input length of the encoder."""
        return whisper_seconds(processor.feature_extractor, self.config.get("audio_config") or {})

    def read_processor(self, source: str, revision: str | None = None) -> VoxtralAudioProcessor:
        """Create the processor with the tokenizer that Transformers converts from Mistral's file."""
        extractor = WhisperFeatureExtractor.from_pretrained(source, revision=revision)
        # Without a connection to the Hub, Transformers does not find `tekken.json` of a repository. A processor that
        # escoita saved has `tokenizer.json` instead.
        found = file_if_any(source, "tekken.json", revision) or local_file(source, "tokenizer.json", revision)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(found.parent, **NAMED)
        special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        extra = [token for token in special if token not in NAMED.values()]
        tokenizer.add_special_tokens({"extra_special_tokens": extra})
        # The encoder joins two frames; the projector joins as many of these as fit its input width.
        audio = self.config.get("audio_config") or {}
        joined = audio.get("intermediate_size", 5120) // audio.get("hidden_size", 1280)
        return VoxtralAudioProcessor(extractor, tokenizer, 2 * joined)

    def render(self, processor: Any, prompt: Prompt) -> str:
        """
        Return the same prompt as `mistral-common`: a user turn, or a transcription request if it is a language or
        empty.

        Raises:
            EscoitaError: The system prompt is not empty.
        """
        if prompt.system:
            problem = "Voxtral accepts no system prompt with audio"
            raise EscoitaError(problem, key="prompt.system", hint="use prompt.user instead")
        request = re.fullmatch(r"(lang:[a-z]{2})?", prompt.user)
        user = f"[/INST]{prompt.user}[TRANSCRIBE]" if request else f"{prompt.user}[/INST]"
        return f"<s>[INST][BEGIN_AUDIO]{processor.audio_token}{user}"
