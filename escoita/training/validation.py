"""Transcribe validation clips during training, and restore everything that generation changes in the model."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from accelerate import PartialState
from transformers import TrainerCallback

from escoita.data.clips import read_clip
from escoita.data.rows import Utterances
from escoita.errors import EscoitaError, TrainingError
from escoita.inference.batching import batches_by_seconds
from escoita.inference.transcriber import Transcriber
from escoita.metrics.normalizers import normalizer
from escoita.metrics.wer import character_edits, word_edits
from escoita.models.trainable import TrainableFamily
from escoita.recipe.schema import Recipe
from escoita.records.training import AdapterRecord
from escoita.training.checkpointing import ValidationInterrupted
from escoita.training.sharding import allow_generation, is_sharded
from escoita.utils.interruption import StopRequest
from escoita.utils.processes import gathered


# Types of the flags that inference changes; caches and compiled functions are not restored.
FLAGS = (bool, int, float, str, tuple, type(None), torch.dtype)
HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
SIDES = ("padding_side", "truncation_side")
# The check of all modules takes milliseconds.
STEPS_BETWEEN_CHECKS = 10


@contextmanager
def training_state_restored(model: Any, processor: Any = None) -> Iterator[None]:
    """
    Let a model generate during training, and restore the state that generation changes.

    Some libraries switch a model to inference when it generates and never switch it back: Unsloth disables gradient
    checkpointing in every module, sets `use_cache` and changes the padding side of the tokenizer. This restores the
    flags, the training mode and the hooks of every module, the configurations, the precision of the parameters, the
    padding side of the tokenizers, and torch's random number generators.

    Args:
        model (`torch.nn.Module`): The model, not wrapped.
        processor (`ProcessorMixin`, *optional*): The processor of the training.
    """
    restore = [_restore_weights(model), *(_restore_module(module) for module in model.modules())]
    restore += [_restore_attributes(config) for config in configurations(model)]
    restore += [_restore_sides(each) for each in _tokenizers(model, processor)]
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            for undo in restore:
                undo()


def inference_state(model: Any, processor: Any = None) -> dict[str, Any]:
    """
    Return the state that [`training_state_restored`] restores, by name.

    Args:
        model (`torch.nn.Module`): The model, not wrapped.
        processor (`ProcessorMixin`, *optional*): The processor of the training.
    """
    state: dict[str, Any] = {}
    for name, module in model.named_modules():
        state |= {f"{name}.{key}": value for key, value in _flags(module).items()}
        state |= {f"{name}.{key}": list(vars(module).get(key) or ()) for key in HOOKS}
    state |= {f"{name}: dtype": weight.dtype for name, weight in model.named_parameters()}
    for index, config in enumerate(configurations(model)):
        state |= {f"configuration {index}: {key}": value for key, value in vars(config).items()}
    for index, each in enumerate(_tokenizers(model, processor)):
        state |= {f"tokenizer {index}: {key}": vars(each).get(key) for key in SIDES}
    return state


def configurations(model: Any) -> list[Any]:
    """Return the configurations of all modules, including generation configurations, each once."""
    found = {}
    for module in model.modules():
        for name in ("config", "generation_config"):
            config = vars(module).get(name)
            if config is not None and hasattr(config, "__dict__"):
                found[id(config)] = config
    return list(found.values())


def _tokenizers(model: Any, processor: Any) -> list[Any]:
    """Return processors and tokenizers, including those that Unsloth attaches to modules, each once."""
    owners = [processor, *(vars(module).get("_saved_temp_tokenizer") for module in model.modules())]
    found = [each for owner in owners for each in (owner, getattr(owner, "tokenizer", None))]
    return list({id(each): each for each in found if each is not None}.values())


def _flags(module: torch.nn.Module) -> dict[str, Any]:
    return {key: value for key, value in vars(module).items() if isinstance(value, FLAGS)}


def _restore_module(module: torch.nn.Module) -> Callable[[], None]:
    earlier, flags = dict(vars(module)), _flags(module)
    hooks = {key: dict(vars(module).get(key) or {}) for key in HOOKS}

    def undo() -> None:
        attributes = vars(module)
        for key in _flags(module).keys() - flags.keys():
            if key in earlier:  # it was of another type, such as a function
                attributes[key] = earlier[key]
            else:
                del attributes[key]
        attributes.update(flags)
        for key, before in hooks.items():
            now = attributes.get(key)
            if now is not None and dict(now) != before:
                now.clear()
                now.update(before)

    return undo


def _restore_attributes(config: Any) -> Callable[[], None]:
    before = dict(vars(config))

    def undo() -> None:
        vars(config).clear()
        vars(config).update(before)

    return undo


def _restore_sides(tokenizer: Any) -> Callable[[], None]:
    before = {key: vars(tokenizer)[key] for key in SIDES if key in vars(tokenizer)}

    def undo() -> None:
        for key in SIDES:
            vars(tokenizer).pop(key, None)
        vars(tokenizer).update(before)

    return undo


def _restore_weights(model: Any) -> Callable[[], None]:
    """Keep the original tensors, because casting back would not restore the same numbers."""
    before = [(weight, weight.data) for weight in model.parameters()]

    def undo() -> None:
        for weight, data in before:
            if weight.dtype != data.dtype or weight.data_ptr() != data.data_ptr():
                weight.data = data

    return undo


class GradientCheckpointingError(TrainingError):
    """
    Report a module whose gradient checkpointing differs from the recipe.

    Args:
        step (`int`): The number of steps taken before.
        module (`str`): The name of the module.
        enabled (`bool`): Whether gradient checkpointing is enabled in the module.
    """

    step: int
    module: str
    enabled: bool
    hint = "report this with the versions of transformers, peft and unsloth, or change this setting"


class CheckpointingCheck(TrainerCallback):
    """
    Check every few steps that the gradient checkpointing of all modules matches the recipe.

    Otherwise a module could lose it without an error, and training would need more memory.
    """

    def __init__(self) -> None:
        self.checkpointed: list[str] | None = None

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        """
        Check the flag of every module.

        Raises:
            GradientCheckpointingError: A module differs from the recipe.
        """
        if self.checkpointed is not None and state.global_step % STEPS_BETWEEN_CHECKS:
            return
        # PEFT's wrappers return the flags of the modules in them.
        flags = {
            name: bool(module.gradient_checkpointing)
            for name, module in model.named_modules()
            if "gradient_checkpointing" in vars(module) or hasattr(type(module), "gradient_checkpointing")
        }
        on = [name for name, flag in flags.items() if flag]
        if self.checkpointed is None:
            self.checkpointed = on
        if not args.gradient_checkpointing:
            if on:
                raise _mismatch(args, state, on[0])
            return
        off = [name for name in self.checkpointed if name not in on] or ([] if on else [*flags, "the model"][:1])
        if off:
            raise _mismatch(args, state, off[0])


def _mismatch(args: Any, state: Any, module: str) -> GradientCheckpointingError:
    enabled = not args.gradient_checkpointing
    return GradientCheckpointingError(
        f"{'enabled' if enabled else 'disabled'} in {module} at step {state.global_step}",
        key="training.gradient_checkpointing",
        value=bool(args.gradient_checkpointing),
        step=state.global_step,
        module=module,
        enabled=enabled,
    )


# The seed of the sample, which is not that of the training, so that runs with several seeds use the same clips.
SEED = 0


class ValidationClipError(TrainingError):
    """Report that a validation clip cannot be transcribed."""

    hint = "correct it, and run the same command to resume from the last checkpoint"


@dataclass
class ValidationSet:
    """
    Hold a fixed sample of the validation clips, and the settings to transcribe them.

    Args:
        clips ([`Utterances`]): The sample.
        family ([`TrainableFamily`]): The model family.
        processor (`ProcessorMixin`): The processor of the family.
        generation_settings ([`AdapterRecord`]): The prompt, the language and the token limit.
        normalizer (`str`): The name of the text normalizer.
        batch_seconds (`float`): The longest batch in seconds of audio, including padding.
    """

    clips: Utterances
    family: TrainableFamily
    processor: Any
    generation_settings: AdapterRecord
    normalizer: str
    batch_seconds: float
    # Kept between evaluations because it records which batches fit in memory.
    _transcriber: Transcriber | None = field(default=None, init=False, repr=False)

    @classmethod
    def of(cls, clips: Utterances, recipe: Recipe, family: TrainableFamily, processor: Any) -> Self:
        """Draw the sample of a recipe from all clips of the validation corpora."""
        sampled = clips.take(sample(clips.column("corpus"), recipe.validation.clips))
        settings = family.resolved_settings(processor, recipe.generation_settings())
        return cls(sampled, family, processor, settings, recipe.eval.normalizer, recipe.eval.batch_seconds)

    def evaluate(self, model: Any, request: StopRequest) -> dict[str, float]:
        """
        Transcribe the sample and compute its error rates.

        Each process transcribes a share of the batches. If the model is sharded, each takes part in all of them.

        Args:
            model (`PeftModel`): The model in training, not wrapped; its state is restored.
            request ([`StopRequest`]): The request to stop after the current batch of this process.

        Returns:
            `dict[str, float]`: The fractions `wer` and `cer` of the sample, the same on every process; the number of
            clips `utterances`; and `transcription_seconds`, the time taken.

        Raises:
            ValidationClipError: A clip cannot be read; raised on every process.
            ValidationInterrupted: A process received a signal; raised on every process.
        """
        started = time.perf_counter()
        state = PartialState()
        batches = list(batches_by_seconds(self.clips.column("audio_seconds"), self.batch_seconds))
        sharded = is_sharded(model)
        own = batches if sharded else batches[state.process_index :: state.num_processes]
        texts: dict[int, str] = {}
        problem = ""
        try:
            with training_state_restored(model, self.processor):
                texts = self._transcribe(model, own, request)
        except EscoitaError as error:
            if sharded:  # the other processes may wait for the weights of this one
                raise ValidationClipError(str(error), key="validation") from error
            problem = str(error)
        results = gathered((texts, problem, request.signum), state)
        if problems := [each for _, each, _ in results if each]:
            raise ValidationClipError(problems[0], key="validation")
        if any(signum for _, _, signum in results):
            raise ValidationInterrupted
        transcripts = {index: text for share, _, _ in results for index, text in share.items()}
        normalize = normalizer(self.normalizer)
        references = [normalize(text) for text in self.clips.column("text")]
        hypotheses = [normalize(transcripts[index]) for index in range(len(references))]
        return {
            "wer": word_edits(references, hypotheses).rate,
            "cer": character_edits(references, hypotheses).rate,
            "utterances": len(references),
            "transcription_seconds": round(time.perf_counter() - started, 3),
        }

    def _transcribe(self, model: Any, batches: Iterable[list[int]], request: StopRequest) -> dict[int, str]:
        """Return the transcripts of these batches, by the index of the clip in the sample."""
        if sharded := is_sharded(model):
            allow_generation(model)
        if self._transcriber is None:
            self._transcriber = Transcriber(
                self.family, model, self.processor, self.generation_settings, self.batch_seconds
            )
        self._transcriber.model = model.eval()
        self._transcriber.splits_batches = not sharded
        results = self._transcriber.transcribe_batches(lambda index: read_clip(self.clips[index]), batches)
        texts: dict[int, str] = {}
        for indices, transcripts in results:
            texts |= {index: transcript.text for index, transcript in zip(indices, transcripts, strict=True)}
            # The processes of a sharded model stop after the same batch.
            if any(gathered(request.signum, PartialState())) if sharded else request.signum:
                break
        return texts


def sample(corpora: list[str], clips: int) -> list[int]:
    """
    Draw clips in proportion to the sizes of their corpora, at least one of each, always the same ones.

    Args:
        corpora (`list[str]`): The corpus of every clip.
        clips (`int`): The size of the sample, which is exceeded if there are more corpora.

    Returns:
        `list[int]`: The indices of the sampled clips, ascending.
    """
    generator = np.random.default_rng(SEED)
    names, which, sizes = np.unique(np.array(corpora, object), return_inverse=True, return_counts=True)
    # One clip of each corpus; the others by the largest remainder method.
    remaining = max(0, min(clips, len(corpora)) - len(names))
    exact = remaining * (sizes - 1) / max(1, sum(sizes - 1))
    counts = exact.astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: remaining - counts.sum()]] += 1
    drawn = [generator.permutation(np.flatnonzero(which == index))[: 1 + count] for index, count in enumerate(counts)]
    return sorted(int(index) for indices in drawn for index in indices)
