"""Baselines: Whisper, and encoders with a CTC head, in the language that they are given."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.errors import EscoitaError
from escoita.hub.files import local_file
from escoita.models.base import Family, Watch, whisper_seconds
from escoita.models.weight_files import check_weights
from escoita.records.training import AdapterRecord, Prompt
from escoita.utils.formatting import visible


# What CLDR holds apart and models do not: Bokmål is what corpora call Norwegian, and MMS calls Malay `zlm`.
_BROADER = {"nb": "no", "zlm": "ms"}
_CODE = re.compile(r"([a-z]{2,3})(?:-([a-z0-9_-]+))?")


def matching(language: str, known: Iterable[str]) -> str | None:
    """
    Find the code of a model for a language.

    Args:
        language (`str`): Code of ISO 639, of two or three letters.
        known (`Iterable[str]`): Codes of the model; those of MMS may name a script or a dialect behind a hyphen.

    Returns:
        `str`: The code itself if the model has it; else one that means the same, of several the one in the script that
        the language is usually written in, else the shortest; `None` if the model does not know the language.
    """
    codes = {code: found for code in known if (found := _CODE.fullmatch(code))}
    if language in codes:
        return language
    same = [code for code, found in codes.items() if canonical(found[1]) == canonical(language)]
    script = f"script_{usual_script(language)}"
    return min(same, key=lambda code: (codes[code][2] not in (None, script), len(code), code), default=None)


def canonical(code: str) -> str:
    """Return the code that CLDR prefers for a language, such as `uz` for `uzb`."""
    from babel.core import get_global

    preferred = str(get_global("language_aliases").get(code, code))
    return _BROADER.get(preferred, preferred)


def usual_script(code: str) -> str:
    """Return the English name of the script that a language is usually written in, such as `latin`; else nothing."""
    from babel import Locale
    from babel.core import get_global

    likely = str(get_global("likely_subtags").get(canonical(code), ""))
    scripts = Locale("en").scripts
    return next((scripts[part].lower() for part in likely.split("_") if part in scripts), "")


class WhisperFamily(Family):
    """Whisper (Radford et al. 2022); told the language where there is one and it knows it, else it finds out."""

    auto_model = "AutoModelForSpeechSeq2Seq"

    def longest_clip(self, processor: Any) -> float:
        """Return what its encoder takes."""
        return whisper_seconds(processor.feature_extractor, self.config)

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Log-mel frames of 30 s for each clip, and which of them are audio."""
        features = processor.feature_extractor(
            list(audio), sampling_rate=SAMPLING_RATE, return_tensors="pt", return_attention_mask=True
        )
        return dict(features)

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """Without timestamps and without a second try at another temperature."""
        known = matching(settings.language, _languages(model))
        asked = {"language": known, "task": "transcribe"} if known else {}
        # Beside what it is told, Whisper's generate adds; `max_new_tokens` would do the same, but warn every time.
        most = self.most_tokens(model, settings)
        return model.generate(**inputs, **asked, max_length=most, do_sample=False)

    def most_tokens(self, model: Any, settings: AdapterRecord) -> int:
        """Its decoder has so many places, of which four are taken by what it is told."""
        return min(settings.max_new_tokens, self.own_limit(model))

    def own_limit(self, model: Any) -> int:
        """Return the places of its decoder without the four that its own prompt takes."""
        return int(model.config.max_target_positions) - 4

    def per_language(self, model: Any, processor: Any) -> bool:
        """Return whether it knows several languages; one that knows English alone takes none."""
        return bool(_languages(model))


def _languages(model: Any) -> list[str]:
    """Return the codes of the languages that a Whisper model knows."""
    return [mark.strip("<|>") for mark in getattr(model.generation_config, "lang_to_id", None) or {}]


class CtcFamily(Family):
    """Encoders with a head of letters (Graves et al. 2006): wav2vec 2.0, HuBERT, w2v-BERT and their like."""

    auto_model = "AutoModelForCTC"

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Samples or frames, padded, and which of them are audio."""
        extractor = processor.feature_extractor
        features = extractor(
            list(audio), sampling_rate=SAMPLING_RATE, return_tensors="pt", padding=True, return_attention_mask=True
        )
        return dict(features)

    def per_language(self, model: Any, processor: Any) -> bool:
        """Return whether each language has letters and an adapter of its own, as in MMS (Pratap et al. 2023)."""
        return bool(_letters(processor)) and getattr(model.config, "adapter_attn_dim", None) is not None

    def set_language(self, model: Any, processor: Any, language: str) -> None:
        """
        Load the adapter and the letters of a language, if the model has one for each.

        Raises:
            EscoitaError: The model does not know the language, or the adapter cannot be loaded.
        """
        if not self.per_language(model, processor):
            return
        tokenizer, name = processor.tokenizer, str(model.config._name_or_path)
        code = matching(language, _letters(processor))
        if code is None:
            raise EscoitaError(f"model {name}: has no letters for the language {language!r}; leave this model out")
        if code == model.target_lang == tokenizer.target_lang:
            return
        revision = getattr(model.config, "_commit_hash", None)
        check_weights(local_file(name, f"adapter.{code}.safetensors", revision), f"model {name}")
        try:
            # use_safetensors: otherwise transformers would fall back to a pickle.
            model.load_adapter(code, use_safetensors=True, revision=revision)
            tokenizer.set_target_lang(code)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = visible(str(error).strip())[:300]
            raise EscoitaError(f"model {name}: its adapter for {code} cannot be loaded ({reason})") from error

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """The likeliest letter of each frame; of frames that only fill up the batch, the blank."""
        if getattr(model.config, "feat_extract_norm", None) == "group":
            return self._one_by_one(model, inputs)
        letters = model(**inputs).logits.argmax(dim=-1)
        lengths = model._get_feat_extract_output_lengths(inputs["attention_mask"].sum(dim=1))
        beyond = torch.arange(letters.shape[1], device=letters.device)[None] >= lengths[:, None]
        return letters.masked_fill(beyond, model.config.pad_token_id)

    def _one_by_one(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """For encoders such as wav2vec2-base, whose norm is over the whole row: beside padding they hear otherwise."""
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        clips = [row[None, :length] for row, length in zip(inputs["input_values"], lengths, strict=True)]
        letters = [model(clip).logits[0].argmax(dim=-1) for clip in clips]
        return torch.nn.utils.rnn.pad_sequence(letters, batch_first=True, padding_value=model.config.pad_token_id)

    def decode(self, processor: Any, tokens: torch.Tensor) -> list[str]:
        """Letters that repeat are one, unless a blank stands between them."""
        tokenizer = processor.tokenizer
        # The blank is special too, but must not go before the letters that it keeps apart are counted.
        unwritten = set(tokenizer.all_special_tokens) - {tokenizer.word_delimiter_token}
        ids = torch.tensor(tokenizer.convert_tokens_to_ids(sorted(unwritten)), device=tokens.device)
        written = tokens.masked_fill(torch.isin(tokens, ids), tokenizer.pad_token_id)
        return [text.strip() for text in tokenizer.batch_decode(written)]

    def most_tokens(self, model: Any, settings: AdapterRecord) -> float:
        """Each frame has its letter; nothing ends before the audio does."""
        return math.inf

    def token_counts(self, processor: Any, tokens: torch.Tensor) -> list[int]:
        """Letters that were heard."""
        return [len(text) for text in self.decode(processor, tokens)]


def _letters(processor: Any) -> list[str]:
    """Return the codes of the languages of a tokenizer that has a vocabulary for each; none of any other tokenizer."""
    vocabulary = getattr(processor.tokenizer, "vocab", {})
    return [code for code, letters in vocabulary.items() if isinstance(letters, dict)]
