"""Models to stand beside, which are not trained here: Whisper, and CTC encoders such as wav2vec 2.0."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from escoita.audio import SAMPLING_RATE
from escoita.families.family import Family, whisper_seconds
from escoita.families.watching import Watch
from escoita.records import AdapterRecord, Prompt


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
        self, model: Any, inputs: dict[str, torch.Tensor], spoken: AdapterRecord, watch: Watch | None = None
    ) -> torch.Tensor:
        """Without timestamps and without a second try at another temperature."""
        known = getattr(model.generation_config, "lang_to_id", None) or {}
        asked = {"language": spoken.language, "task": "transcribe"} if f"<|{spoken.language}|>" in known else {}
        # Beside what it is told, Whisper's generate adds; `max_new_tokens` would do the same, but warn every time.
        most = self.most_tokens(model, spoken)
        return model.generate(**inputs, **asked, max_length=most, do_sample=False)

    def most_tokens(self, model: Any, spoken: AdapterRecord) -> int:
        """Its decoder has so many places, of which four are taken by what it is told."""
        return min(spoken.max_new_tokens, model.config.max_target_positions - 4)


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

    def generate(
        self, model: Any, inputs: dict[str, torch.Tensor], spoken: AdapterRecord, watch: Watch | None = None
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

    def most_tokens(self, model: Any, spoken: AdapterRecord) -> float:
        """Each frame has its letter; nothing ends before the audio does."""
        return math.inf

    def token_counts(self, processor: Any, tokens: torch.Tensor) -> list[int]:
        """Letters that were heard."""
        return [len(text) for text in self.decode(processor, tokens)]
