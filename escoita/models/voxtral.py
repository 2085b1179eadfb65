"""Voxtral: the encoder of Whisper before a Llama, with Mistral's tokenizer and without its package."""

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
    [`VoxtralProcessor`] that takes text with audio, as other processors do.

    That of the library does so only where `mistral-common` is installed, and keeps the text to itself, so that no
    transcript could be put after it.

    Args:
        feature_extractor ([`WhisperFeatureExtractor`]): Turns 30 s at 16 kHz into 3,000 log-mel frames.
        tokenizer ([`PreTrainedTokenizerFast`]): Made from `tekken.json`.
        frames_per_token (`int`, *optional*, defaults to 8): Log-mel frames in one audio token.
    """

    def __init__(self, feature_extractor, tokenizer, frames_per_token=8):
        self.frames_per_token = frames_per_token
        super().__init__(feature_extractor, tokenizer)

    def __call__(
        self, text: Sequence[str], audio: Sequence[np.ndarray], sampling_rate: int, **kwargs: Any
    ) -> BatchFeature:
        """Each clip, filled up to 30 s, and each text, in which the audio token stands for as many as the clip has."""
        features = self.feature_extractor(audio, sampling_rate=sampling_rate, return_tensors="pt")
        tokens = self.audio_token * (features["input_features"].shape[-1] // self.frames_per_token)
        texts = [one.replace(self.audio_token, tokens) for one in text]
        return BatchFeature({**self.tokenizer(texts, **kwargs), **features})


class VoxtralFamily(ChatFamily):
    """Voxtral; its extractor pads every clip to what its encoder takes, mostly 30 s, and cuts longer ones."""

    info = BY_MODEL_TYPE["voxtral"]
    end_of_target = "</s>"
    audio_mark = "[AUDIO]"
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
        """Return what its encoder takes."""
        return whisper_seconds(processor.feature_extractor, self.config.get("audio_config") or {})

    def read_processor(self, source: str, revision: str | None = None) -> VoxtralAudioProcessor:
        """The extractor, and the tokenizer as Transformers itself makes it of Mistral's file."""
        extractor = WhisperFeatureExtractor.from_pretrained(source, revision=revision)
        # Of a repository, Transformers would find `tekken.json` only where the Hub can be asked what else there is.
        # What was saved here has `tokenizer.json` in its place.
        found = file_if_any(source, "tekken.json", revision) or local_file(source, "tokenizer.json", revision)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(found.parent, **NAMED)
        marks = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        tokenizer.add_special_tokens({"extra_special_tokens": [mark for mark in marks if mark not in NAMED.values()]})
        # Two frames become one in the encoder; the projector joins as many of those as its input is wide.
        audio = self.config.get("audio_config") or {}
        joined = audio.get("intermediate_size", 5120) // audio.get("hidden_size", 1280)
        return VoxtralAudioProcessor(extractor, tokenizer, 2 * joined)

    def render(self, processor: Any, prompt: Prompt) -> str:
        """
        As `mistral-common` writes it: a user's turn, or, told a language or nothing, the request for a transcript.

        Raises:
            EscoitaError: There is a system prompt.
        """
        if prompt.system:
            raise EscoitaError("prompt.system: Voxtral takes none beside audio; say it in prompt.user")
        request = re.fullmatch(r"(lang:[a-z]{2})?", prompt.user)
        told = f"[/INST]{prompt.user}[TRANSCRIBE]" if request else f"{prompt.user}[/INST]"
        return f"<s>[INST][BEGIN_AUDIO]{processor.audio_token}{told}"
