"""Support Whisper."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.errors import EscoitaError
from escoita.models.base import Watch, special_tokens_of, watch_arguments, whisper_seconds
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.small_copy import LAYERS, WHISPER, WIDTH, Sizes
from escoita.models.trainable import IGNORED, TrainableFamily
from escoita.records.training import AdapterRecord, Prompt
from escoita.utils.languages import closest, matching
from escoita.utils.processes import say_once


START, TASK, NO_TIMESTAMPS = "<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>"
# The value of `language_token` for a prompt without one.
NO_TOKEN = "none"  # noqa: S105  not a password
# The vocabulary of models for English only, which have the tokens of languages and tasks but do not use them.
ENGLISH_VOCABULARY = 51_864


class WhisperFamily(TrainableFamily):
    """
    Support Whisper (Radford et al. 2022).

    The prompt of its decoder is a token for the start, one for the language, one for the task, and one that disables
    timestamps. An adapter has a fixed prompt, which may have no token for the language. A base without an adapter
    detects the language of a clip if it is not given or not supported.
    """

    info = BY_MODEL_TYPE["whisper"]
    auto_model = "AutoModelForSpeechSeq2Seq"
    # Each segment takes as long as 30 s, and was trained with pauses.
    longest_pause = 2.0
    token_keys = ("decoder_input_ids", "decoder_attention_mask")
    towers: ClassVar[dict[str, str]] = {"audio": r"(^|\.)encoder\.", "language": r""}
    small_sizes: ClassVar[Sizes] = {
        "whisper": {
            **WHISPER,
            "decoder_layers": LAYERS,
            "decoder_attention_heads": 2,
            "decoder_ffn_dim": WIDTH,
            "num_hidden_layers": LAYERS,
        }
    }

    @property
    def unquantized_modules(self) -> tuple[str, ...]:
        """Return the patterns of the encoder and of the output layer, which shares the weight of the embeddings."""
        return (*super().unquantized_modules, "proj_out")

    def longest_clip(self, processor: Any) -> float:
        """Return the input length of the encoder."""
        return whisper_seconds(processor.feature_extractor, self.config)

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Return the log-mel frames of each clip, padded to 30 s, and their mask."""
        features = processor.feature_extractor(
            list(audio), sampling_rate=SAMPLING_RATE, return_tensors="pt", return_attention_mask=True
        )
        return dict(features)

    def resolved_settings(self, processor: Any, settings: AdapterRecord) -> AdapterRecord:
        """Return the settings with a language token: that of the language, or none if Whisper does not support it."""
        if self.config.get("vocab_size") == ENGLISH_VOCABULARY:
            hint = "use the model of this size without .en in its name"
            raise EscoitaError("a Whisper for English only cannot be trained", key="base", hint=hint)
        for part, text in settings.prompt:
            if text:
                hint = "leave it empty, and see method.language_token"
                raise EscoitaError("Whisper has no prompt in words", key=f"prompt.{part}", value=text, hint=hint)
        languages = languages_of(processor.tokenizer)
        if settings.language_token is None:
            code = matching(settings.language, languages)
            if code is None:
                say_once(
                    f"Whisper has no language token for {settings.language}, and is trained without one;"
                    f" {_closest(settings.language, languages)} (method.language_token)"
                )
            return settings.model_copy(update={"language_token": code or NO_TOKEN})
        if settings.language_token not in (NO_TOKEN, *languages):
            hint = f"use none; {_closest(settings.language, languages)}"
            problem = "not a language of this Whisper"
            raise EscoitaError(problem, key="method.language_token", value=settings.language_token, hint=hint)
        return settings

    def rendered_prompt(self, processor: Any, settings: AdapterRecord) -> str:
        """Return the tokens of the prompt, joined."""
        return "".join(prompt_tokens(settings))

    def targets(self, processor: Any, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each transcript, which begins with a space as in Whisper's output, and of its end."""
        tokenizer = processor.tokenizer
        tokens = tokenizer([f" {text}" for text in texts], add_special_tokens=False)["input_ids"]
        return [[*target, tokenizer.eos_token_id] for target in tokens]

    def row_problem(self, processor: Any, text: str, seconds: float = math.inf) -> str:
        """Return why a transcript cannot be trained on: with the longest prompt, it must fit into the decoder."""
        limit = int(self.config.get("max_target_positions", 448)) - LONGEST_PROMPT
        if len(text.encode()) + 2 <= limit:  # no more tokens than bytes, the space before the text, and the end
            return ""
        tokens = len(self.targets(processor, [text])[0])
        if tokens <= limit:
            return ""
        return f"the transcript has {tokens} tokens, more than the {limit} that the decoder takes; split the clip"

    def encode_with_targets(
        self, processor: Any, audio: Sequence[np.ndarray], texts: Sequence[str], settings: AdapterRecord
    ) -> dict[str, torch.Tensor]:
        """Build inputs of the decoder from prompt and target; see [`TrainableFamily.encode_with_targets`]."""
        prompt = processor.tokenizer.convert_tokens_to_ids(prompt_tokens(settings))
        targets = self.targets(processor, texts)
        columns = {
            "decoder_input_ids": ([prompt + target for target in targets], processor.tokenizer.eos_token_id),
            "decoder_attention_mask": ([[1] * (len(prompt) + len(target)) for target in targets], 0),
            "labels": ([[IGNORED] * len(prompt) + target for target in targets], IGNORED),
        }
        padded = {
            key: torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(row) for row in rows], batch_first=True, padding_value=padding
            )
            for key, (rows, padding) in columns.items()
        }
        return self.encode(processor, audio, settings.prompt) | padded

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """Transcribe a batch without timestamps and without temperature fallback."""
        # Whisper adds `max_length` to the length of its prompt; `max_new_tokens` is equivalent, but logs a warning.
        request: dict[str, Any] = {"max_length": self.most_tokens(model, settings), "do_sample": False}
        languages = _languages(model)
        if settings.language_token is not None:
            prompt = prompt_ids(model, settings)
            request |= watch_arguments(watch, len(prompt))
            rows = len(inputs["input_features"])
            request["decoder_input_ids"] = torch.tensor([prompt] * rows, device=inputs["input_features"].device)
            # The prompt is given, and with a language none is detected, which would take a pass of the encoder.
            code: str | None = languages[0]
        else:
            code = matching(settings.language, languages)
        return model.generate(**inputs, **request, **({"language": code, "task": "transcribe"} if code else {}))

    def most_tokens(self, model: Any, settings: AdapterRecord) -> int:
        """Return the configured token limit, but at most the positions of the decoder."""
        return min(settings.max_new_tokens, self.own_limit(model))

    def own_limit(self, model: Any) -> int:
        """Return the positions of the decoder without those of its prompt."""
        return int(model.config.max_target_positions) - LONGEST_PROMPT

    def per_language(self, model: Any, processor: Any) -> bool:
        """Return whether the model supports several languages; an English model takes no language."""
        return bool(_languages(model))


LONGEST_PROMPT = 4


def prompt_tokens(settings: AdapterRecord) -> list[str]:
    """Return the tokens of the prompt of resolved generation settings."""
    code = settings.language_token
    return [START, *([f"<|{code}|>"] if code not in (None, NO_TOKEN) else []), TASK, NO_TIMESTAMPS]


def prompt_ids(model: Any, settings: AdapterRecord) -> list[int]:
    """
    Return the ids of [`prompt_tokens`] from the generation configuration of a model.

    Raises:
        EscoitaError: The configuration has no such token.
    """
    config = model.generation_config
    ids = dict(getattr(config, "lang_to_id", None) or {})
    ids[START] = config.decoder_start_token_id
    ids[TASK] = (getattr(config, "task_to_id", None) or {}).get("transcribe")
    ids[NO_TIMESTAMPS] = getattr(config, "no_timestamps_token_id", None)
    found = [ids.get(token) for token in prompt_tokens(settings)]
    for token, index in zip(prompt_tokens(settings), found, strict=True):
        if index is None:
            hint = "copy generation_config.json of the original Whisper of this size"
            path = f"{model.config._name_or_path}/generation_config.json"
            raise EscoitaError("the prompt of the adapter needs this token", path=path, value=token, hint=hint)
    return [int(index) for index in found if index is not None]


def languages_of(tokenizer: Any) -> list[str]:
    """Return the codes of the language tokens of a tokenizer."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    special = set(special_tokens_of(tokenizer).values())
    return [code for code in LANGUAGES if f"<|{code}|>" in special]


def _languages(model: Any) -> list[str]:
    """Return the codes of the languages of a Whisper model."""
    return [token.strip("<|>") for token in getattr(model.generation_config, "lang_to_id", None) or {}]


def _closest(language: str, languages: Sequence[str]) -> str:
    """Return a phrase with the closest supported languages."""
    from langcodes import Language

    found = [f"{code} ({Language.get(code).display_name('en')})" for code in closest(language, languages)]
    return f"the closest that it supports: {', '.join(found)}" if found else "it supports no close language"
