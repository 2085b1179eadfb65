"""Define the interface between the Transcriber and the model families."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from escoita.audio.loading import SHORTEST_SECONDS
from escoita.errors import EscoitaError
from escoita.records.training import AdapterRecord, Prompt
from escoita.utils.formatting import visible


# A callback with the row of a batch, the position of a token in its transcript, and the token. It returns whether the
# row continues. After an out-of-memory error, a row may start again at position 0. A finished row gets padding tokens.
Watch = Callable[[int, int, int], bool]


# The start and the end of a part of a clip, as fractions of its length.
Span = tuple[float, float]


class WatchCriteria(StoppingCriteria):
    """
    Call a [`Watch`] for each row after each generated token, and stop rows for which it returns `False`.

    Args:
        watch ([`Watch`]): The callback.
        prompt_length (`int`): The length of the prompt in tokens.
    """

    def __init__(self, watch: Watch, prompt_length: int):
        self.watch, self.prompt_length = watch, prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        position = input_ids.shape[1] - self.prompt_length - 1
        continues = [self.watch(row, position, token) for row, token in enumerate(input_ids[:, -1].tolist())]
        return ~torch.tensor(continues, device=input_ids.device)


def watch_arguments(watch: Watch | None, prompt_length: int) -> dict[str, Any]:
    """Return the arguments of `generate` that call a [`Watch`]; none if it is `None`."""
    if watch is None:
        return {}
    return {"stopping_criteria": StoppingCriteriaList([WatchCriteria(watch, prompt_length)])}


def watch_of_row(watch: Watch, row: int) -> Watch:
    """Return a [`Watch`] for a batch that contains only one row of a larger batch."""
    return lambda _, position, token: watch(row, position, token)


# The longest clip that the configuration of a base may state. Whisper's extractor pads every clip to this length.
MOST_SECONDS = 3600.0
# The token limit of Whisper for its 30 seconds; fast speech has about four words per second, of three tokens each.
TOKENS_PER_SECOND = 15


class Family(ABC):
    """
    Define the interface of a model family; a subclass overrides the differences.

    Attributes:
        max_audio_seconds (`float`): The longest clip that is transcribed without splitting. Loading a processor sets
            it to the result of [`~Family.longest_clip`].
        longest_pause (`float`): The longest pause within a segment of a long recording, in seconds. Segments of most
            models are single stretches of speech, as the clips that they are trained on.
        config (`dict[str, Any]`): The `config.json` of the base; empty if not given.
        auto_model (`str`): The class of transformers that loads the model.
        complete (`bool`): Whether a model that is stored without some of its parameters is refused.
        needs_prompt (`bool`): Whether the model cannot transcribe without a prompt.
        beam_search (`bool`): Whether the model can generate with several beams; others decode greedily.
        token_limit (`bool`): Whether a transcript has a token limit.
        own_vocabulary (`bool`): Whether an adapter has its own vocabulary, built from the training transcripts.
    """

    max_audio_seconds: float = 30.0
    longest_pause: ClassVar[float] = 0.0
    auto_model: ClassVar[str]
    complete: ClassVar[bool] = False
    needs_prompt: ClassVar[bool] = False
    beam_search: ClassVar[bool] = True
    token_limit: ClassVar[bool] = True
    own_vocabulary: ClassVar[bool] = False

    def __init__(self, config: dict[str, Any] | None = None):
        self.config = config or {}

    @property
    def loader(self) -> Any:
        """Return the class that loads the model."""
        import transformers

        return getattr(transformers, self.auto_model)

    @property
    def unquantized_modules(self) -> tuple[str, ...]:
        """Return regular expressions that are searched in module names; matches are not quantized to 4 bits."""
        return ()

    def load_processor(self, source: str, revision: str | None = None) -> Any:
        """
        Check and load the processor from a folder or repository, and set `max_audio_seconds`.

        Args:
            source (`str`): A folder, or a repository on the Hub.
            revision (`str`, *optional*): The revision of the repository.

        Raises:
            EscoitaError: A file is too large, the processor cannot be loaded, or its longest clip is impossible.
        """
        from escoita.hub.failures import explain_hub_errors
        from escoita.models.processor_files import check_processor_files

        check_processor_files(source, revision)
        try:
            with explain_hub_errors(source, "model", value=revision) if not Path(source).is_dir() else nullcontext():
                processor = self.read_processor(source, revision)
            self.max_audio_seconds = possible_seconds(self.longest_clip(processor), source)
            return processor
        except EscoitaError:
            raise
        except Exception as error:  # untrusted files can cause any exception
            reason = visible(str(error).strip())[:300]
            problem = f"the processor cannot be loaded ({type(error).__name__}: {reason})"
            raise EscoitaError(problem, path=source) from error

    def characters(self, processor: Any, language: str) -> str | None:
        """
        Return all characters that the model can write, in the order of their code points; `None` if it can write any.

        Args:
            processor (`ProcessorMixin`): The processor, that of an adapter if the adapter has its own vocabulary.
            language (`str`): The tag of the language of the clips.
        """
        return None

    def read_processor(self, source: str, revision: str | None = None) -> Any:
        """Create the processor from the files of a folder or repository."""
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(source, revision=revision)

    def longest_clip(self, processor: Any) -> float:
        """
        Return the length in seconds of the longest clip that extractor and encoder accept without cutting it.

        A family overrides this if its encoder has a limit. The default is the length of the extractor, or
        [`~Family.max_audio_seconds`] of the class if the extractor states none.

        Raises:
            ValueError: Extractor and encoder contradict each other.
        """
        extractor: Any = getattr(processor, "feature_extractor", None)
        if not hasattr(extractor, "n_samples"):
            return type(self).max_audio_seconds
        return extractor.n_samples / extractor.sampling_rate

    def load_model(
        self,
        base: str,
        revision: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        load_in_4bit: bool = False,
    ) -> Any:
        """
        Load the base model.

        Args:
            base (`str`): A folder, or a repository on the Hub.
            revision (`str`, *optional*): The revision of the repository.
            dtype (`str`, *optional*, defaults to `"auto"`): The name of a torch type, or `"auto"` for the stored type.
            device (`str`, *optional*): The device. Defaults to the CPU.
            load_in_4bit (`bool`, *optional*, defaults to `False`): Whether linear layers are in 4 bits; see
                [`~escoita.models.loading.load`].
        """
        from escoita.models.loading import load

        return load(self.loader, base, revision, dtype, device, load_in_4bit, self.unquantized_modules, self.complete)

    def empty_model(self, base: str, revision: str | None = None) -> Any:
        """Create the base model without its weights; call this method in the context of torch's meta device."""
        return self.from_config(self.read_config(base, revision))

    def read_config(self, base: str, revision: str | None = None) -> Any:
        """Read the configuration of a base as an object of transformers."""
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(base, revision=revision)

    def from_config(self, config: Any) -> Any:
        """Create a model with random weights from a configuration."""
        return self.loader.from_config(config)

    def adjust(self, model: Any) -> None:  # noqa: B027 most families change nothing
        """Apply the changes that every loaded base needs; by default none."""

    @abstractmethod
    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """
        Build a batch for generation.

        Args:
            processor (`ProcessorMixin`): The processor of the family.
            audio (`Sequence[np.ndarray]`): The clips, each of shape `(samples,)`, float32 at 16 kHz.
            prompt ([`Prompt`]): The prompt for each clip, if the family uses one.

        Returns:
            `dict[str, torch.Tensor]`: The inputs of the model; the first dimension of each tensor is the batch.
        """

    @abstractmethod
    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """
        Transcribe a batch without sampling; the generation configuration of the model contains the number of beams.

        Args:
            model (`torch.nn.Module`): The model.
            inputs (`dict[str, torch.Tensor]`): A batch of [`~Family.encode`], on the device of the model.
            settings ([`AdapterRecord`]): The language, and the token limit of a transcript.
            watch ([`~escoita.models.base.Watch`], *optional*): A callback for each token. Baselines ignore it, because
                they are not served on a page.

        Returns:
            `torch.Tensor`: The generated tokens without the prompt, of shape `(batch, length)`, padded on the right.
        """

    def decode(self, processor: Any, tokens: torch.Tensor) -> list[str]:
        """Return the texts of generated tokens of shape `(batch, length)`, without special tokens and edge spaces."""
        return [text.strip() for text in processor.batch_decode(tokens, skip_special_tokens=True)]

    def character_spans(self, processor: Any, tokens: torch.Tensor) -> list[list[Span]] | None:
        """
        Return when each character of the texts was spoken, without spaces; `None` if the model does not know it.

        Args:
            processor (`ProcessorMixin`): The processor of the family.
            tokens (`torch.Tensor`): The generated tokens, of shape `(batch, length)`.
        """
        return None

    def most_tokens(self, model: Any, settings: AdapterRecord) -> float:
        """Return the number of tokens at which a transcript is cut off."""
        return settings.max_new_tokens

    def own_limit(self, model: Any) -> int:
        """
        Return the token limit of a transcript for a model without a configured limit, such as a baseline.

        Args:
            model (`torch.nn.Module`): The model.
        """
        return math.ceil(TOKENS_PER_SECOND * self.max_audio_seconds)

    def per_language(self, model: Any, processor: Any) -> bool:
        """Return whether the model needs the language of the clips, so that a batch must have one language."""
        return False

    def unsupported(self, processor: Any, languages: Collection[str]) -> list[str]:
        """
        Return the languages that the model would transcribe as another one; by default none.

        Args:
            processor (`ProcessorMixin`): The processor of the family.
            languages (`Collection[str]`): The ISO 639 codes of all clips.
        """
        return []

    def baseline_prompt(self, language: str) -> Prompt | None:
        """
        Return the prompt of the model as a baseline, which is not that of the evaluated adapter.

        Args:
            language (`str`): The ISO 639 code of the language of the evaluation.

        Returns:
            [`Prompt`], *optional*: The prompt. `None` uses that of the adapter.
        """
        return None

    @property
    def transcribes_alone(self) -> bool:
        """Return whether the model can transcribe without an adapter; a pretrained encoder without a head cannot."""
        return True

    def set_language(self, model: Any, processor: Any, language: str) -> None:  # noqa: B027  # nothing to do is right
        """
        Prepare model and processor for clips of a language; by default, do nothing.

        Args:
            model (`torch.nn.Module`): The model.
            processor (`ProcessorMixin`): The processor that decodes its tokens.
            language (`str`): The tag of the language; empty if it is not known.

        Raises:
            EscoitaError: The model does not support the language.
        """

    def token_counts(self, processor: Any, tokens: torch.Tensor) -> list[int]:
        """Return the number of generated tokens of each row, without special tokens."""
        special = torch.tensor(sorted(special_tokens_of(processor.tokenizer)), device=tokens.device)
        return (~torch.isin(tokens, special)).sum(dim=1).tolist()


def possible_seconds(longest: float, source: str) -> float:
    """
    Check the longest clip that a base states, and return it.

    Args:
        longest (`float`): The length of the longest clip in seconds.
        source (`str`): The folder or repository of the base, for errors.

    Raises:
        EscoitaError: The length is outside the possible range.
    """
    if not SHORTEST_SECONDS <= longest <= MOST_SECONDS:
        problem = f"not possible according to the configuration; expected {SHORTEST_SECONDS} to {MOST_SECONDS:g} s"
        raise EscoitaError(problem, path=source, key="longest clip", value=f"{longest:g} s")
    return longest


def whisper_seconds(extractor: Any, config: dict[str, Any]) -> float:
    """
    Return the input length in seconds of an encoder like Whisper's, to which its extractor pads every clip.

    Args:
        extractor (`WhisperFeatureExtractor`): The extractor of the processor.
        config (`dict[str, Any]`): The stored configuration of the encoder.

    Raises:
        ValueError: The extractor produces another number of frames than the encoder expects.
    """
    places = 2 * config.get("max_source_positions", 1500)  # the second convolution halves the frames
    if extractor.nb_max_frames != places:
        raise ValueError(
            f"the extractor produces {extractor.nb_max_frames} frames for every clip, but the encoder expects {places}"
        )
    return extractor.n_samples / extractor.sampling_rate


def cut_seconds(extractor: Any) -> float:
    """Return the length in seconds at which an extractor cuts clips by default."""
    longest = signature(type(extractor).__call__).parameters["max_length"].default
    return longest / extractor.sampling_rate


def special_tokens_of(tokenizer: Any) -> dict[int, str]:
    """Return special tokens by their ids, including unnamed ones, such as the end of a turn in some tokenizers."""
    named = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    return named | {index: token.content for index, token in tokenizer.added_tokens_decoder.items() if token.special}
