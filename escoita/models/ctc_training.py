"""Train encoders with a CTC head over the characters of the training transcripts."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.errors import EscoitaError
from escoita.hub.files import file_if_any
from escoita.models.ctc import CtcFamily, languages_of, load_language_adapter
from escoita.models.ctc_vocabulary import DELIMITER, SPECIAL, VOCABULARY, read_vocabulary, tokenizer_of, vocabulary
from escoita.models.families import BY_MODEL_TYPE, HEAD
from escoita.models.loading import load
from escoita.models.small_copy import LAYERS, WIDTH, Sizes
from escoita.models.trainable import IGNORED, Row, TrainableFamily
from escoita.records.training import AdapterRecord
from escoita.utils.languages import closest, matching
from escoita.utils.processes import say_once


# The value of `target_lang` for the language adapter that is stored in the weights of the base.
STORED = "none"
_SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "output_hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "mask_feature_length": 10,
}


class TrainableCtcFamily(CtcFamily, TrainableFamily):
    """
    Support the training of an encoder with a CTC head.

    An adapter has its own vocabulary, the characters of the training transcripts under the recipe's normalizer, and
    its own head, which begins with random weights.

    Attributes:
        processor_class (`str`): The class of transformers that joins feature extractor and tokenizer.
    """

    own_vocabulary = True
    towers: ClassVar[dict[str, str]] = {"head": rf"(^|\.){HEAD}\.", "audio": r""}
    processor_class: ClassVar[str] = "Wav2Vec2Processor"

    @property
    def transcribes_alone(self) -> bool:
        """Return whether the base is stored with a head, such as wav2vec2-base-960h, but not XLS-R."""
        return any(name.endswith("ForCTC") for name in self.config.get("architectures") or ())

    def read_processor(self, source: str, revision: str | None = None) -> Any:
        """Create the processor; that of a base without a head has an empty vocabulary."""
        import transformers

        if file_if_any(source, VOCABULARY, revision):
            return super().read_processor(source, revision)
        extractor = transformers.AutoFeatureExtractor.from_pretrained(source, revision=revision)
        return getattr(transformers, self.processor_class)(extractor, tokenizer_of(vocabulary([])))

    def save_processor(self, processor: Any, folder: Path) -> None:
        """Save the feature extractor and the vocabulary."""
        processor.save_pretrained(folder)

    def load_model(
        self,
        base: str,
        revision: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        load_in_4bit: bool = False,
    ) -> Any:
        """Load the base model; see [`Family.load_model`]. The head may be missing, as training replaces it."""
        missing = () if self.transcribes_alone else (f"{HEAD}.",)
        own: dict[str, Any] = {} if self.config.get("vocab_size") else {"vocab_size": len(SPECIAL)}
        return load(self.loader, base, revision, dtype, device, load_in_4bit, complete=True, fresh=missing, **own)

    def from_config(self, config: Any) -> Any:
        """Create a model with random weights; a base without a head may state no vocabulary."""
        config.vocab_size = config.vocab_size or len(SPECIAL)
        return super().from_config(config)

    def with_vocabulary(self, processor: Any, tokens: dict[str, int]) -> Any:
        """Return a processor with the same feature extractor and another vocabulary."""
        return type(processor)(processor.feature_extractor, tokenizer_of(tokens))

    def learn_vocabulary(self, processor: Any, texts: Iterable[str]) -> None:
        """Replace the tokenizer by one for the characters of the training transcripts."""
        processor.tokenizer = tokenizer_of(vocabulary(texts))

    def resolved_settings(self, processor: Any, settings: AdapterRecord) -> AdapterRecord:
        """Return the settings; a CTC model has no prompt, no token limit and no layers in 4 bits."""
        for part, text in settings.prompt:
            if text:
                problem, hint = "a CTC model has no prompt", "leave it empty"
                raise EscoitaError(problem, key=f"prompt.{part}", value=text, hint=hint)
        if settings.load_in_4bit:
            problem = "a CTC model is not trained in 4 bits"
            raise EscoitaError(problem, key="load_in_4bit", value=True, hint="leave it out")
        return super().resolved_settings(processor, settings)

    def rendered_prompt(self, processor: Any, settings: AdapterRecord) -> str:
        """Return an empty prompt."""
        return ""

    def row_problem(self, processor: Any, text: str, seconds: float = math.inf) -> str:
        """Return why a clip cannot be trained on: each letter needs a frame, and equal neighbors one between them."""
        if not text:
            return "no character of the transcript is left after the normalizer"
        needed = len(text) + sum(one == other for one, other in zip(text, text[1:], strict=False))
        if seconds == math.inf or needed <= (frames := self.frames(processor, seconds)):
            return ""
        return f"the transcript needs {needed} frames, more than the {frames} of the clip; correct transcript or clip"

    def frames(self, processor: Any, seconds: float) -> int:
        """Return the number of frames with letters of a clip."""
        # The method of the class reads only its configuration.
        model = SimpleNamespace(config=self._read_config())
        inputs = torch.tensor(self.input_length(processor, round(seconds * SAMPLING_RATE)))
        return max(0, int(self._class()._get_feat_extract_output_lengths(model, inputs)))

    def input_length(self, processor: Any, samples: int) -> int:
        """Return the number of inputs of the encoder for a clip, by default its samples."""
        return samples

    def _class(self) -> Any:
        from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING

        return MODEL_FOR_CTC_MAPPING[type(self._read_config())]

    def _read_config(self) -> Any:
        from transformers import AutoConfig

        if not hasattr(self, "_stored_config"):
            self._stored_config = AutoConfig.for_model(**self.config)
        return self._stored_config

    def targets(self, processor: Any, texts: Sequence[str]) -> list[list[int]]:
        """Return the token of each character; the delimiter stands for a space."""
        known = processor.tokenizer.get_vocab()
        unknown = processor.tokenizer.unk_token_id
        return [[known.get(each, unknown) for each in text.replace(" ", DELIMITER)] for text in texts]

    def encode_with_targets(
        self, processor: Any, audio: Sequence[np.ndarray], texts: Sequence[str], settings: AdapterRecord
    ) -> dict[str, torch.Tensor]:
        """Build inputs of the encoder and targets; see [`TrainableFamily.encode_with_targets`]."""
        batch = self.encode(processor, audio, settings.prompt)
        # Models whose extractor says so, such as wav2vec2-base, were trained without a mask of the padding.
        if not processor.feature_extractor.return_attention_mask:
            del batch["attention_mask"]
        labels = [torch.tensor(target) for target in self.targets(processor, texts)]
        return batch | {
            "labels": torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        }

    def rows(self, batch: dict[str, torch.Tensor]) -> list[Row]:
        """Return the target of each clip; the model reads no text."""
        targets = [row[row != IGNORED].tolist() for row in batch["labels"]]
        return [Row(target, target) for target in targets]

    def check_vocabulary(self, processor: Any, checkpoint: Path | None) -> None:
        """Refuse to resume with another vocabulary, because the head has a row for each character."""
        path = checkpoint and checkpoint / VOCABULARY
        if path and path.is_file() and read_vocabulary(path, str(checkpoint)) != processor.tokenizer.get_vocab():
            problem = "the characters of the training transcripts have changed since"
            raise EscoitaError(problem, path=path, hint="restore the corpus, or give --restart")

    def prepare_for_training(self, model: Any, processor: Any) -> None:
        """Add a head for the vocabulary, freeze the feature encoder, and set the configuration of the training."""
        config, tokenizer = model.config, processor.tokenizer
        tokens = len(tokenizer)
        head = getattr(model, HEAD)
        fresh = torch.nn.Linear(head.in_features, tokens, device=head.weight.device, dtype=head.weight.dtype)
        if head.weight.device.type != "meta":
            torch.nn.init.normal_(fresh.weight, std=getattr(config, "initializer_range", 0.02))
            torch.nn.init.zeros_(fresh.bias)
        setattr(model, HEAD, fresh)
        configure(config, tokenizer)
        # The sum over all clips, which is divided by the targets of all batches of a step.
        config.ctc_loss_reduction = "sum"
        config.ctc_zero_infinity = True
        # A layer that is skipped has no gradients. At least two masks of 10 frames would cover most of a short clip.
        config.layerdrop = 0.0
        config.mask_time_min_masks = 0
        if hasattr(model, "freeze_feature_encoder"):
            model.freeze_feature_encoder()

    def prepare_merged(self, model: Any, processor: Any) -> None:
        """Set the vocabulary of the adapter in the configuration."""
        configure(model.config, processor.tokenizer)

    def summed_loss(self, model: Any, config: Any, batch: dict[str, Any]) -> torch.Tensor:
        """Return the sum of the CTC losses; frames are not masked if all clips are shorter than a mask."""
        length = torch.tensor(batch[self.audio_features].shape[1])
        frames = int(self._class()._get_feat_extract_output_lengths(SimpleNamespace(config=config), length))
        masked = config.apply_spec_augment
        config.apply_spec_augment = masked and frames >= config.mask_time_length
        try:
            loss: torch.Tensor = model(**batch).loss
        finally:
            config.apply_spec_augment = masked
        return loss


def configure(config: Any, tokenizer: Any) -> None:
    """Set the vocabulary of a tokenizer in the configuration of a CTC model."""
    config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    config.bos_token_id = config.eos_token_id = None


def has_ctc_head(model: Any) -> bool:
    """Return whether a model, without an adapter, is an encoder with a CTC head."""
    return type(model).__name__.endswith("ForCTC") and isinstance(getattr(model, HEAD, None), torch.nn.Linear)


def fit_head(model: Any, shape: tuple[int, ...] | None) -> None:
    """
    Give a CTC model a head for the vocabulary of an adapter, if the adapter has one of another size.

    Args:
        model (`torch.nn.Module`): The base without an adapter, which is changed in place.
        shape (`tuple[int, ...]`, *optional*): The shape of the weight of the head in the adapter.
    """
    if shape is None or not has_ctc_head(model):
        return
    head = getattr(model, HEAD)
    if len(shape) == 2 and shape[1] == head.in_features and shape[0] != head.out_features:
        fresh = torch.nn.Linear(head.in_features, shape[0], device=head.weight.device, dtype=head.weight.dtype)
        setattr(model, HEAD, fresh)


class Wav2Vec2Family(TrainableCtcFamily):
    """Support wav2vec 2.0 (Baevski et al. 2020) and XLS-R (Babu et al. 2021)."""

    info = BY_MODEL_TYPE["wav2vec2"]
    audio_features = "input_values"
    small_sizes: ClassVar[Sizes] = {"wav2vec2": _SIZES}


class HubertFamily(TrainableCtcFamily):
    """Support HuBERT (Hsu et al. 2021)."""

    info = BY_MODEL_TYPE["hubert"]
    audio_features = "input_values"
    small_sizes: ClassVar[Sizes] = {"hubert": _SIZES}


class Wav2Vec2BertFamily(TrainableCtcFamily):
    """Support w2v-BERT 2.0 (Seamless Communication et al. 2023), whose encoder takes log-mel frames."""

    info = BY_MODEL_TYPE["wav2vec2-bert"]
    processor_class = "Wav2Vec2BertProcessor"
    small_sizes: ClassVar[Sizes] = {"wav2vec2-bert": _SIZES}

    def input_length(self, processor: Any, samples: int) -> int:
        """Return the number of groups of log-mel frames; the frames of an incomplete group are padding."""
        extractor = processor.feature_extractor
        return (1 + (samples - 400) // 160) // extractor.stride if samples >= 400 else 0


class MmsFamily(Wav2Vec2Family):
    """
    Support MMS (Pratap et al. 2023), a wav2vec 2.0 with an adapter of each language.

    Training begins with the language adapter of `target_lang`, trains it, and saves it whole.
    """

    info = BY_MODEL_TYPE["mms"]

    def __init__(self, config: dict[str, Any] | None = None):
        super().__init__(config)
        self.languages: list[str] = []

    def read_processor(self, source: str, revision: str | None = None) -> Any:
        """Create the processor, and keep the languages that it names."""
        processor = super().read_processor(source, revision)
        self.languages = languages_of(processor) or self.languages
        return processor

    def resolved_settings(self, processor: Any, settings: AdapterRecord) -> AdapterRecord:
        """Return the settings with the code of a language adapter: that of the language, if MMS has it."""
        given = settings.target_lang
        resolved = super().resolved_settings(processor, settings.model_copy(update={"target_lang": None}))
        if given is None:
            code = matching(settings.language, self.languages)
            if code is None and self.languages:
                say_once(
                    f"MMS has no adapter of {settings.language}, and training begins with the stored one;"
                    f" {self._closest(settings.language)} (method.target_lang)"
                )
            given = code or STORED
        elif given not in (STORED, *self.languages):
            hint = f"use {STORED}; {self._closest(settings.language)}"
            problem = "not a language of this MMS"
            raise EscoitaError(problem, key="method.target_lang", value=given, hint=hint)
        return resolved.model_copy(update={"target_lang": given})

    def load_initial_weights(self, model: Any, settings: AdapterRecord) -> None:
        """Load the language adapter that training begins with."""
        if settings.target_lang not in (None, STORED):
            load_language_adapter(model, str(settings.target_lang))

    def _closest(self, language: str) -> str:
        found = closest(language, self.languages)
        return f"the closest that it supports: {', '.join(found)}" if found else "it supports no close language"
