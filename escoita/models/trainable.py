"""Define the interface between the training and the model families that can be trained."""

import math
import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from escoita.errors import EscoitaError
from escoita.models.base import Family
from escoita.models.families import FamilyInfo
from escoita.models.small_copy import Sizes
from escoita.records.training import AdapterRecord


# The label of a position without loss.
IGNORED = -100


class Row(NamedTuple):
    """
    Store the tokens of one clip of a training batch, without padding.

    Args:
        tokens (`list[int]`): The tokens that the model reads: the prompt, with audio tokens if it has any, and the
            target. A family whose model reads no text returns the target.
        labels (`list[int]`): The label of each token, -100 where it has no loss.
    """

    tokens: list[int]
    labels: list[int]


class TrainableFamily(Family):
    """
    Define the interface of a family that can be trained.

    Attributes:
        info ([`~escoita.models.families.FamilyInfo`]): The names and other data that are read without torch.
        audio_features (`str`): The key of the audio in a batch.
        token_keys (`tuple[str, str]`): The keys of the tokens in a batch, and of their mask.
        task_type (`str`, *optional*): The task type of PEFT, which selects the class of a PEFT model; `None` for a
            model whose `forward` differs from those that PEFT knows.
        towers (`dict[str, str]`): The regular expression for the parameters of each tower; the first match applies.
        small_sizes (`dict[str, dict[str, Any]]`): The sizes of a small copy of a base, by the type of each section of
            its configuration; see [`~escoita.models.small_copy.small_config`].
    """

    complete = True
    info: ClassVar[FamilyInfo]
    audio_features: ClassVar[str] = "input_features"
    token_keys: ClassVar[tuple[str, str]] = ("input_ids", "attention_mask")
    task_type: ClassVar[str | None] = None
    towers: ClassVar[dict[str, str]] = {"audio": r"audio", "language": r""}
    small_sizes: ClassVar[Sizes]

    @property
    def unquantized_modules(self) -> tuple[str, ...]:
        """Return the patterns of all towers except the language tower, as in the 4-bit bases of Unsloth."""
        return tuple(pattern for tower, pattern in self.towers.items() if tower != "language")

    def tower_of(self, parameter: str) -> str:
        """Return the name of the tower that a parameter belongs to."""
        return next(tower for tower, pattern in self.towers.items() if re.search(pattern, parameter))

    def save_processor(self, processor: Any, folder: Path) -> None:
        """Save the processor without the padding state of its last call, which would break the next call."""
        processor.tokenizer.backend_tokenizer.no_padding()
        processor.tokenizer.backend_tokenizer.no_truncation()
        processor.save_pretrained(folder)

    def resolved_settings(self, processor: Any, settings: AdapterRecord) -> AdapterRecord:
        """
        Return generation settings in which nothing is left open that depends on the base.

        Args:
            processor (`ProcessorMixin`): The processor of the family.
            settings ([`AdapterRecord`]): The generation settings of a recipe.

        Raises:
            EscoitaError: The model cannot have these settings; `key` is the key of the recipe.
        """
        for key, what in (("language_token", "language tokens"), ("target_lang", "language adapters")):
            if (value := getattr(settings, key)) is not None:
                problem = f"{self.info.title} has no {what}"
                raise EscoitaError(problem, key=f"method.{key}", value=value, hint="leave it out")
        return settings

    @abstractmethod
    def rendered_prompt(self, processor: Any, settings: AdapterRecord) -> str:
        """
        Return the prompt of each clip as text; it is stored with an adapter, and compared when the adapter is used.

        Args:
            processor (`ProcessorMixin`): The processor of the family.
            settings ([`AdapterRecord`]): The resolved generation settings.

        Raises:
            EscoitaError: The model cannot have this prompt.
        """

    @abstractmethod
    def targets(self, processor: Any, texts: Sequence[str]) -> list[list[int]]:
        """
        Return the tokens with loss of each transcript, with the token that ends it, if the family has one.

        Args:
            processor (`ProcessorMixin`): The processor of the family.
            texts (`Sequence[str]`): The transcripts.
        """

    @abstractmethod
    def encode_with_targets(
        self, processor: Any, audio: Sequence[np.ndarray], texts: Sequence[str], settings: AdapterRecord
    ) -> dict[str, torch.Tensor]:
        """
        Build a training batch with the same prompt as for generation.

        Args:
            processor (`ProcessorMixin`): The processor of the family.
            audio (`Sequence[np.ndarray]`): The clips, each of shape `(samples,)`, float32 at 16 kHz.
            texts (`Sequence[str]`): The transcripts.
            settings ([`AdapterRecord`]): The resolved generation settings, with the prompt.

        Returns:
            `dict[str, torch.Tensor]`: The inputs of the model, whose first dimension is the batch, and `labels` of
            shape `(batch, length)`, which are -100 except on the targets.
        """

    def row_problem(self, processor: Any, text: str, seconds: float = math.inf) -> str:
        """
        Return why a clip cannot be trained on because of its transcript, or an empty string.

        Args:
            processor (`ProcessorMixin`): The processor of the family.
            text (`str`): The transcript.
            seconds (`float`, *optional*): The length of the clip in seconds, if it is known.
        """
        return ""

    def learn_vocabulary(self, processor: Any, texts: Iterable[str]) -> None:  # noqa: B027  most families have one
        """
        Replace the tokenizer of a processor by one that writes the training transcripts; by default, do nothing.

        Args:
            processor (`ProcessorMixin`): The processor of the base, which is changed in place.
            texts (`Iterable[str]`): All training transcripts, normalized.
        """

    def with_vocabulary(self, processor: Any, tokens: dict[str, int]) -> Any:
        """
        Return a processor with the vocabulary of an adapter, for a family whose adapters have their own.

        Args:
            processor (`ProcessorMixin`): The processor of the base.
            tokens (`dict[str, int]`): The index of each token.
        """
        return processor

    def prepare_merged(self, model: Any, processor: Any) -> None:  # noqa: B027  most families need nothing
        """
        Prepare a merged model for storage; by default, do nothing.

        Args:
            model (`torch.nn.Module`): The model with the merged adapter.
            processor (`ProcessorMixin`): The processor of the adapter.
        """

    def check_vocabulary(self, processor: Any, checkpoint: Path | None) -> None:  # noqa: B027  most families have one
        """
        Compare the vocabulary of a processor with that of a checkpoint; by default, do nothing.

        Args:
            processor (`ProcessorMixin`): The processor of the training.
            checkpoint (`Path`, *optional*): The folder of the checkpoint that the run resumes from.

        Raises:
            EscoitaError: The vocabularies differ.
        """

    def prepare_for_training(self, model: Any, processor: Any) -> None:  # noqa: B027  most families need nothing
        """
        Prepare a base, with or without weights, for the targets of a processor; by default, do nothing.

        Args:
            model (`torch.nn.Module`): The base without an adapter, which is changed in place.
            processor (`ProcessorMixin`): The processor of the training.
        """

    def load_initial_weights(self, model: Any, settings: AdapterRecord) -> None:  # noqa: B027  most families have none
        """
        Load weights that training begins with and that are stored apart from the base; by default, none.

        Args:
            model (`torch.nn.Module`): The loaded base, which is changed in place.
            settings ([`AdapterRecord`]): The resolved generation settings.
        """

    def summed_loss(self, model: Any, config: Any, batch: dict[str, Any]) -> torch.Tensor | None:
        """
        Return the sum of the losses of all targets of a batch, or `None` for the loss of TRL.

        Args:
            model (`torch.nn.Module`): The model in training, which may be wrapped.
            config (`PreTrainedConfig`): The configuration of the base.
            batch (`dict[str, Any]`): A batch of [`~TrainableFamily.encode_with_targets`].
        """
        return None

    def rows(self, batch: dict[str, torch.Tensor]) -> list[Row]:
        """
        Return the tokens and labels of each clip of a training batch, without padding.

        A position of the padding that has a label is kept, so that a check finds it.

        Args:
            batch (`dict[str, torch.Tensor]`): The output of [`~TrainableFamily.encode_with_targets`].
        """
        tokens, mask = (batch[key] for key in self.token_keys)
        labels = batch["labels"]
        kept = mask.bool() | (labels != IGNORED)
        return [Row(tokens[row][kept[row]].tolist(), labels[row][kept[row]].tolist()) for row in range(len(labels))]
