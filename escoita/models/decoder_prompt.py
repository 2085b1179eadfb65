"""Support baselines whose decoder begins with a prompt that names the language: Canary and Cohere's ASR model."""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.errors import EscoitaError
from escoita.models.base import Family, Watch
from escoita.records.training import AdapterRecord, Prompt
from escoita.utils.languages import matching


class DecoderPromptFamily(Family):
    """Define the interface of encoder-decoder models with a prompt of tokens for each supported language."""

    auto_model = "AutoModelForSpeechSeq2Seq"

    def __init__(self, config: dict[str, Any] | None = None):
        super().__init__(config)
        self._prompts: dict[str, list[int]] = {}

    @property
    @abstractmethod
    def languages(self) -> Collection[str]:
        """Return the codes of the supported languages."""

    @abstractmethod
    def prompt_ids(self, processor: Any, code: str) -> list[int]:
        """Return the prompt of the decoder for a language of the model, as token ids."""

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Return the log-mel frames of each clip, and their mask."""
        features = processor.feature_extractor(
            list(audio), sampling_rate=SAMPLING_RATE, return_tensors="pt", return_attention_mask=True
        )
        return {name: features[name] for name in ("input_features", "attention_mask")}

    def per_language(self, model: Any, processor: Any) -> bool:
        """Return that a batch must have one language."""
        return True

    def unsupported(self, processor: Any, languages: Collection[str]) -> list[str]:
        """Return the languages without a prompt."""
        return [language for language in languages if matching(language, self.languages) is None]

    def set_language(self, model: Any, processor: Any, language: str) -> None:
        """
        Prepare the prompt of a language.

        Args:
            model (`torch.nn.Module`): The model, which is not changed.
            processor (`ProcessorMixin`): The processor, with the tokens of the prompt.
            language (`str`): The ISO 639 code of the language.

        Raises:
            EscoitaError: The model does not support the language.
        """
        if language in self._prompts:
            return
        code = matching(language, self.languages)
        if code is None:
            name = str(model.config._name_or_path)
            raise EscoitaError("not supported", path=name, key="language", value=language, hint="leave out this model")
        self._prompts[language] = self.prompt_ids(processor, code)

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """Transcribe a batch after the prompt of its language; see [`~escoita.models.base.Family.generate`]."""
        ids = torch.tensor(self._prompts[settings.language], device=model.device)
        prompts = ids.expand(len(inputs["input_features"]), -1)
        output = model.generate(
            **inputs,
            decoder_input_ids=prompts,
            max_new_tokens=self.most_tokens(model, settings),
            do_sample=False,
        )
        return output[:, len(ids) :]

    def most_tokens(self, model: Any, settings: AdapterRecord) -> int:
        """Return the configured token limit, but at most the positions of the decoder after its prompt."""
        decoder = getattr(model.config, "decoder_config", None) or model.config
        longest = max(map(len, self._prompts.values()), default=0)
        return min(settings.max_new_tokens, int(decoder.max_position_embeddings) - longest)


class CanaryFamily(DecoderPromptFamily):
    """Support Canary, whose chat template writes the prompt of a language, with punctuation."""

    @property
    def languages(self) -> Collection[str]:
        """Return the languages of the processor."""
        from transformers.models.canary.processing_canary import LANGUAGE_CODE_TO_NAME

        return LANGUAGE_CODE_TO_NAME

    def prompt_ids(self, processor: Any, code: str) -> list[int]:
        """Return the ids of the rendered prompt for a short silence."""
        silence = np.zeros(SAMPLING_RATE, np.float32)
        request = processor.apply_transcription_request([silence], source_language=code)
        ids: list[int] = request["decoder_input_ids"][0].tolist()
        return ids


class CohereAsrFamily(DecoderPromptFamily):
    """Support Cohere's ASR model, with punctuation."""

    @property
    def languages(self) -> Collection[str]:
        """Return the languages of the processor."""
        from transformers.models.cohere_asr.processing_cohere_asr import LANGUAGES

        codes: set[str] = LANGUAGES
        return codes

    def prompt_ids(self, processor: Any, code: str) -> list[int]:
        """Return the ids of the prompt."""
        ids: list[int] = processor.get_decoder_prompt_ids(code)
        return ids
