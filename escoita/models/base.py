"""Define what the Transcriber needs of every model that transcribes speech."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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


# Told the row of a batch, the place of a token in its transcript, and the token; answers whether the row is to go on.
# A row may begin anew, at place 0, where memory ran out. One that has ended is told its padding.
Watch = Callable[[int, int, int], bool]


class Watching(StoppingCriteria):
    """
    Asked by `generate` after each token, once for the whole batch: the only place at which a row can end by itself.

    Args:
        watch ([`Watch`]): Told of each token.
        told (`int`): Length of the prompt, in tokens.
    """

    def __init__(self, watch: Watch, told: int):
        self.watch, self.told = watch, told

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        place = input_ids.shape[1] - self.told - 1
        on = [self.watch(row, place, token) for row, token in enumerate(input_ids[:, -1].tolist())]
        return ~torch.tensor(on, device=input_ids.device)


def watched(watch: Watch | None, told: int) -> dict[str, Any]:
    """What `generate` takes so that it is watched; nothing where nobody watches."""
    return {} if watch is None else {"stopping_criteria": StoppingCriteriaList([Watching(watch, told)])}


def of_row(watch: Watch, row: int) -> Watch:
    """For a batch that holds one row of a greater one alone."""
    return lambda _, place, token: watch(row, place, token)


# The longest clip that a base may state. Whisper's extractor pads every clip to it.
MOST_SECONDS = 3600.0
# As many as Whisper may write of its 30 seconds; people say about four words a second, of three tokens each.
TOKENS_PER_SECOND = 15


class Family(ABC):
    """
    What a family says of itself; a subclass overrides what differs.

    Attributes:
        max_audio_seconds (`float`): Longest clip that is transcribed whole; once a processor is loaded, what
            [`~Family.longest_clip`] finds.
        config (`dict[str, Any]`): The base's `config.json`; empty if not given.
        auto_model (`str`): Class of transformers that loads the model.
        complete (`bool`): A model that is stored without some of its parameters is refused.
    """

    max_audio_seconds: float = 30.0
    auto_model: ClassVar[str]
    complete: ClassVar[bool] = False

    def __init__(self, config: dict[str, Any] | None = None):
        self.config = config or {}

    @property
    def loader(self) -> Any:
        """The class that loads the model."""
        import transformers

        return getattr(transformers, self.auto_model)

    @property
    def whole_in_4bit(self) -> tuple[str, ...]:
        """Regular expressions; modules whose names hold a match keep their precision where a base is in 4 bits."""
        return ()

    def load_processor(self, source: str, revision: str | None = None) -> Any:
        """
        Loads the processor from a folder or repository, whose files are checked before, and sets the longest clip.

        Raises:
            EscoitaError: A file is too large, or the processor cannot be made of what the files contain, or it states
                an impossible longest clip.
        """
        from escoita.models.processor_files import check_processor_files

        check_processor_files(source, revision)
        try:
            processor = self.read_processor(source, revision)
            self.max_audio_seconds = possible_seconds(self.longest_clip(processor), source)
            return processor
        except EscoitaError:
            raise
        except Exception as error:  # anything can be in the files of somebody else
            if isinstance(error, OSError) and not Path(source).is_dir():  # there is no such repository
                raise
            reason = visible(str(error).strip())[:300]
            raise EscoitaError(
                f"model {source}: its processor cannot be loaded ({type(error).__name__}: {reason})"
            ) from error

    def read_processor(self, source: str, revision: str | None = None) -> Any:
        """Makes the processor of the files of a folder or repository."""
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(source, revision=revision)

    def longest_clip(self, processor: Any) -> float:
        """
        Return the seconds of the longest clip that extractor and encoder take whole.

        A family overrides this if its encoder has a limit. This one takes the length that the extractor is made for,
        and [`~Family.max_audio_seconds`] of the class if it states none.

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
        Loads the base model.

        Args:
            base (`str`): A folder, or a repository of the Hub.
            revision (`str`, *optional*): Of the repository.
            dtype (`str`, *optional*, defaults to `"auto"`): As the weights are stored, or a type of torch by name.
            device (`str`, *optional*): Where to; the CPU unless given.
            load_in_4bit (`bool`, *optional*, defaults to `False`): Linear layers in 4 bits; see
                [`~escoita.models.loading.load`].
        """
        from escoita.models.loading import load

        return load(self.loader, base, revision, dtype, device, load_in_4bit, self.whole_in_4bit, self.complete)

    def empty_model(self, base: str, revision: str | None = None) -> Any:
        """The base model without its weights, in its configuration's shape; to be made on torch's meta device."""
        return self.from_config(self.read_config(base, revision))

    def read_config(self, base: str, revision: str | None = None) -> Any:
        """Read the configuration of a base, as the library has it."""
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(base, revision=revision)

    def from_config(self, config: Any) -> Any:
        """Make a model with random weights in the shape of a configuration."""
        return self.loader.from_config(config)

    def adjust(self, model: Any) -> None:  # noqa: B027 most families change nothing
        """Change what is changed of every base that is loaded."""

    @abstractmethod
    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """
        Builds a batch that is ready to generate from.

        Args:
            processor: The family's processor.
            audio (`Sequence[np.ndarray]`): Clips, each of shape `(samples,)`, float32 at 16 kHz.
            prompt ([`Prompt`]): Told beside each clip, where the family takes one.

        Returns:
            `dict[str, torch.Tensor]`: What the model takes; the first dimension of each tensor is the batch.
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
        Listens, greedily.

        Args:
            model: The model.
            inputs (`dict[str, torch.Tensor]`): A batch as encoded, on the model's device.
            settings ([`AdapterRecord`]): Language, and most tokens of a transcript.
            watch ([`~escoita.models.base.Watch`], *optional*): Told of each token as it comes; baselines, which
                are served on no page, tell nothing before the end.

        Returns:
            `torch.Tensor`: Generated tokens alone, of shape `(batch, length)`, padded on the right.
        """

    def decode(self, processor: Any, tokens: torch.Tensor) -> list[str]:
        """Texts of generated tokens of shape `(batch, length)`, without special tokens and edge spaces."""
        return [text.strip() for text in processor.batch_decode(tokens, skip_special_tokens=True)]

    def most_tokens(self, model: Any, settings: AdapterRecord) -> float:
        """As many tokens end a transcript, whatever is left to say."""
        return settings.max_new_tokens

    def own_limit(self, model: Any) -> int:
        """
        Return the most tokens of a transcript for a model whose limit nobody has set, as of a baseline.

        Args:
            model: The model.
        """
        return math.ceil(TOKENS_PER_SECOND * self.max_audio_seconds)

    def per_language(self, model: Any, processor: Any) -> bool:
        """Return whether the model is given the language of each clip, so that a batch must be of one language."""
        return False

    def set_language(self, model: Any, processor: Any, language: str) -> None:  # noqa: B027  # nothing to do is right
        """
        Prepare model and processor for clips of a language; by default, nothing depends on it.

        Args:
            model: The model.
            processor: The processor that decodes its tokens.
            language (`str`): Code of ISO 639; empty if it is not known.

        Raises:
            EscoitaError: The model does not know the language.
        """

    def token_counts(self, processor: Any, tokens: torch.Tensor) -> list[int]:
        """Generated tokens of each row, those that end or pad it left out."""
        special = torch.tensor(sorted(marks_of(processor.tokenizer)), device=tokens.device)
        return (~torch.isin(tokens, special)).sum(dim=1).tolist()


def possible_seconds(longest: float, source: str) -> float:
    """
    Return the longest clip that a base states, in seconds.

    Raises:
        EscoitaError: No clip is so short, or the memory would not hold a batch.
    """
    if not SHORTEST_SECONDS <= longest <= MOST_SECONDS:
        raise EscoitaError(
            f"model {source}: its configuration states {longest:g} s as the longest clip, which is not possible"
        )
    return longest


def whisper_seconds(extractor: Any, config: dict[str, Any]) -> float:
    """
    Return the seconds that an encoder in the form of Whisper's takes, to which its extractor pads every clip.

    Args:
        extractor (`WhisperFeatureExtractor`): Of the processor.
        config (`dict[str, Any]`): The written configuration of the encoder.

    Raises:
        ValueError: The extractor makes another number of frames than the encoder takes.
    """
    places = 2 * config.get("max_source_positions", 1500)  # the second convolution halves the frames
    if extractor.nb_max_frames != places:
        raise ValueError(
            f"its extractor makes {extractor.nb_max_frames} frames of every clip, but its encoder takes {places}"
        )
    return extractor.n_samples / extractor.sampling_rate


def cut_seconds(extractor: Any) -> float:
    """Return the seconds at which an extractor cuts a clip unless its call says otherwise."""
    longest = signature(type(extractor).__call__).parameters["max_length"].default
    return longest / extractor.sampling_rate


def marks_of(tokenizer: Any) -> dict[int, str]:
    """Special tokens by their ids; those too that have no name, as the end of a turn has none in some tokenizers."""
    named = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    return named | {index: token.content for index, token in tokenizer.added_tokens_decoder.items() if token.special}
