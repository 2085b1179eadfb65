"""Support encoders with a CTC head."""

import math
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.errors import EscoitaError
from escoita.hub.files import file_if_any, local_file
from escoita.models.base import Family, Span, Watch
from escoita.models.ctc_vocabulary import VOCABULARY, check_base_vocabulary
from escoita.models.weight_files import check_weights
from escoita.records.training import AdapterRecord, Prompt
from escoita.utils.formatting import visible
from escoita.utils.languages import matching, name_and_tag


# The letter of the positions after the last frame of a clip.
NO_FRAME = -1


class CtcFamily(Family):
    """Support encoders with a CTC head over letters (Graves et al. 2006), such as wav2vec 2.0, HuBERT and w2v-BERT."""

    auto_model = "AutoModelForCTC"
    beam_search = False
    token_limit = False

    def read_processor(self, source: str, revision: str | None = None) -> Any:
        """Check the vocabulary, and create the processor."""
        if path := file_if_any(source, VOCABULARY, revision):
            check_base_vocabulary(path, source)
        return super().read_processor(source, revision)

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Return padded samples or frames, and their mask."""
        extractor = processor.feature_extractor
        features = extractor(
            list(audio), sampling_rate=SAMPLING_RATE, return_tensors="pt", padding=True, return_attention_mask=True
        )
        return dict(features)

    def per_language(self, model: Any, processor: Any) -> bool:
        """Return whether each language has its own letters and adapter, as in MMS (Pratap et al. 2023)."""
        return bool(languages_of(processor)) and getattr(model.config, "adapter_attn_dim", None) is not None

    def set_language(self, model: Any, processor: Any, language: str) -> None:
        """
        Load the adapter and the letters of a language, if the model has them per language.

        Args:
            model (`torch.nn.Module`): The model, which is changed in place.
            processor (`ProcessorMixin`): The processor, whose tokenizer is changed in place.
            language (`str`): The tag of the language.

        Raises:
            EscoitaError: The model does not support the language, or the adapter cannot be loaded.
        """
        if not self.per_language(model, processor):
            return
        tokenizer, name = processor.tokenizer, str(model.config._name_or_path)
        code = matching(language, languages_of(processor))
        if code is None:
            problem = f"{name_and_tag(language)} is not supported"
            raise EscoitaError(problem, path=name, key="language", value=language, hint="leave out this model")
        if code == model.target_lang == tokenizer.target_lang:
            return
        load_language_adapter(model, code)
        tokenizer.set_target_lang(code)

    def characters(self, processor: Any, language: str) -> str:
        """Return the characters of the vocabulary, or of that of the language if each has its own."""
        tokenizer = processor.tokenizer
        tokens = tokenizer.get_vocab()
        if code := matching(language, languages_of(processor)):
            tokens = tokenizer.vocab[code]
        written = set(tokens) - {*tokenizer.all_special_tokens, tokenizer.word_delimiter_token}
        return "".join(sorted({character for token in written for character in token}))

    def unsupported(self, processor: Any, languages: Collection[str]) -> list[str]:
        """Return the languages without letters and an adapter; a model with a single vocabulary has none."""
        known = languages_of(processor)
        return [language for language in languages if known and matching(language, known) is None]

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """Return the most probable letter of each frame, and [`NO_FRAME`] after the last frame."""
        if getattr(model.config, "feat_extract_norm", None) == "group":
            return self._one_by_one(model, inputs)
        letters = model(**inputs).logits.argmax(dim=-1)
        lengths = model._get_feat_extract_output_lengths(inputs["attention_mask"].sum(dim=1))
        padding = torch.arange(letters.shape[1], device=letters.device)[None] >= lengths[:, None]
        return letters.masked_fill(padding, NO_FRAME)

    def _one_by_one(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Transcribe rows without padding, for encoders whose group norm includes padding, such as wav2vec2-base."""
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        clips = [row[None, :length] for row, length in zip(inputs["input_values"], lengths, strict=True)]
        letters = [model(clip).logits[0].argmax(dim=-1) for clip in clips]
        return torch.nn.utils.rnn.pad_sequence(letters, batch_first=True, padding_value=NO_FRAME)

    def decode(self, processor: Any, tokens: torch.Tensor) -> list[str]:
        """Return the texts of frame-wise letters, with repeated letters merged unless a blank separates them."""
        return [text.strip() for text in processor.tokenizer.batch_decode(_letters_and_blanks(processor, tokens))]

    def character_spans(self, processor: Any, tokens: torch.Tensor) -> list[list[Span]]:
        """Return when each character was written; see [`Family.character_spans`]."""
        letters = _letters_and_blanks(processor, tokens)
        frames = (tokens != NO_FRAME).sum(dim=1).tolist()
        return [_spans(processor.tokenizer, row, count) for row, count in zip(letters, frames, strict=True)]

    def most_tokens(self, model: Any, settings: AdapterRecord) -> float:
        """Return infinity, because each frame has a letter and a transcript is never cut off."""
        return math.inf

    def token_counts(self, processor: Any, tokens: torch.Tensor) -> list[int]:
        """Return the number of letters of each transcript."""
        return [len(text) for text in self.decode(processor, tokens)]


def load_language_adapter(model: Any, code: str) -> None:
    """
    Load the adapter of a language, and its head, into a model of MMS.

    Args:
        model (`Wav2Vec2ForCTC`): The model, which is changed in place.
        code (`str`): The code of the language in MMS.

    Raises:
        EscoitaError: The adapter is not found, or cannot be loaded.
    """
    name, revision = str(model.config._name_or_path), getattr(model.config, "_commit_hash", None)
    if not re.fullmatch(r"[\w-]{1,60}", code):  # it becomes part of a path
        raise EscoitaError("not the code of a language", path=name, key="target_lang", value=code)
    weights = local_file(name, f"adapter.{code}.safetensors", revision)
    check_weights(weights, name)
    try:
        # use_safetensors: otherwise transformers would fall back to a pickle.
        model.load_adapter(code, use_safetensors=True, revision=revision)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        problem = f"cannot be loaded ({visible(str(error).strip())[:300]})"
        raise EscoitaError(problem, path=f"{name}/{weights.name}") from error


def _letters_and_blanks(processor: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Return frame-wise letters with blanks in place of other special tokens, and after the last frame."""
    tokenizer = processor.tokenizer
    # Blanks must be removed only after repeated letters are merged.
    special = set(tokenizer.all_special_tokens) - {tokenizer.word_delimiter_token}
    ids = torch.tensor([NO_FRAME, *tokenizer.convert_tokens_to_ids(sorted(special))], device=tokens.device)
    return tokens.masked_fill(torch.isin(tokens, ids), tokenizer.pad_token_id)


def _spans(tokenizer: Any, letters: torch.Tensor, frames: int) -> list[Span]:
    """Return the frames of each character of a row of frame-wise letters, as fractions of their number."""
    offsets = tokenizer.decode(letters, output_char_offsets=True).char_offsets
    return [
        (int(each["start_offset"]) / frames, int(each["end_offset"]) / frames)
        for each in offsets
        for character in each["char"]  # a token may be several characters
        if not character.isspace()
    ]


def languages_of(processor: Any) -> list[str]:
    """Return the language codes of a tokenizer with one vocabulary per language; empty for other tokenizers."""
    vocabulary = getattr(processor.tokenizer, "vocab", {})
    return [code for code, letters in vocabulary.items() if isinstance(letters, dict)]
