"""Transcribe validation clips during training, and restore all that generation changes in the model."""

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
from escoita.models.chat import ChatFamily
from escoita.recipe.schema import Recipe
from escoita.records.training import AdapterRecord
from escoita.training.checkpointing import ValidationInterrupted
from escoita.utils.interruption import StopRequest
from escoita.utils.processes import gathered


# Flags that inference switches have these types; caches and compiled functions may stay.
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
# A walk over the modules takes milliseconds.
STEPS_BETWEEN_CHECKS = 10


@contextmanager
def inference_undone(model: Any, processor: Any = None) -> Iterator[None]:
    """
    Let a model generate during training, and restore what that changes.

    Some libraries switch a model to inference when it generates and never switch it back: Unsloth turns gradient
    checkpointing off in every module, sets `use_cache` and changes the padding side of the tokenizer. Restored are the
    flags, the training mode and the hooks of every module, the configurations, the precision of the parameters, the
    padding side of the tokenizers, and torch's random number generators.

    Args:
        model: The model, not wrapped.
        processor (*optional*): The processor that trains.
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
    Return what [`inference_undone`] restores, by name, to be compared.

    Args:
        model: The model, not wrapped.
        processor (*optional*): The processor that trains.
    """
    state: dict[str, Any] = {}
    for name, module in model.named_modules():
        state |= {f"{name}.{key}": value for key, value in _flags(module).items()}
        state |= {f"{name}.{key}": list(vars(module).get(key) or ()) for key in HOOKS}
    state |= {f"{name}: dtype": weight.dtype for name, weight in model.named_parameters()}
    for place, config in enumerate(configurations(model)):
        state |= {f"configuration {place}: {key}": value for key, value in vars(config).items()}
    for place, each in enumerate(_tokenizers(model, processor)):
        state |= {f"tokenizer {place}: {key}": vars(each).get(key) for key in SIDES}
    return state


def configurations(model: Any) -> list[Any]:
    """Return the configurations of all modules, those for generation included, each once."""
    found = {}
    for module in model.modules():
        for name in ("config", "generation_config"):
            config = vars(module).get(name)
            if config is not None and hasattr(config, "__dict__"):
                found[id(config)] = config
    return list(found.values())


def _tokenizers(model: Any, processor: Any) -> list[Any]:
    """Return processors and tokenizers, those that Unsloth keeps on modules included, each once."""
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
            if key in earlier:  # it was no flag, such as a function
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
    """Keep the tensors themselves: a cast back would not give the same numbers again."""
    before = [(weight, weight.data) for weight in model.parameters()]

    def undo() -> None:
        for weight, data in before:
            if weight.dtype != data.dtype or weight.data_ptr() != data.data_ptr():
                weight.data = data

    return undo


class CheckpointingCheck(TrainerCallback):
    """
    Check every few steps that gradient checkpointing is on or off as the recipe says.

    Without it, training continues with more memory and no error.
    """

    def __init__(self) -> None:
        self.checkpointed: list[str] | None = None

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        """
        Look at the flag of every module.

        Raises:
            TrainingError: Names a module that differs from the recipe.
        """
        if self.checkpointed is not None and state.global_step % STEPS_BETWEEN_CHECKS:
            return
        # PEFT's wrappers answer for the modules within them.
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
                raise TrainingError(_message(state.global_step, "on", on[0], "false"))
            return
        off = [name for name in self.checkpointed if name not in on] or ([] if on else [*flags, "the model"][:1])
        if off:
            raise TrainingError(_message(state.global_step, "off", off[0], "true"))


def _message(step: int, found: str, name: str, asked: str) -> str:
    return (
        f"step {step}: gradient checkpointing is {found} in {name}, but training.gradient_checkpointing"
        f" is {asked}; report this with the versions of transformers, peft and unsloth, or set it to"
        f" {'true' if asked == 'false' else 'false'}"
    )


# Not the training's own, so that runs of several seeds are heard on the same clips.
SEED = 0


@dataclass
class ValidationSet:
    """
    A fixed sample of the validation clips, and how they are heard.

    Args:
        clips ([`Utterances`]): The sample.
        family ([`ChatFamily`]): How the model is spoken to.
        processor: The family's processor.
        generation_settings ([`AdapterRecord`]): Prompt, language and limit of tokens.
        normalizer (`str`): Makes texts alike before they are compared.
        batch_seconds (`float`): Most audio at once, padding counted.
    """

    clips: Utterances
    family: ChatFamily
    processor: Any
    generation_settings: AdapterRecord
    normalizer: str
    batch_seconds: float
    # Kept, as it remembers what fits in memory.
    _transcriber: Transcriber | None = field(default=None, init=False, repr=False)

    @classmethod
    def to(cls, clips: Utterances, recipe: Recipe, family: ChatFamily, processor: Any) -> Self:
        """Draws the sample that a recipe asks for from all clips of the validation corpora."""
        drawn = clips.take(sample(clips.column("corpus"), recipe.validation.clips))
        return cls(
            drawn, family, processor, recipe.generation_settings(), recipe.eval.normalizer, recipe.eval.batch_seconds
        )

    def rates(self, model: Any, request: StopRequest) -> dict[str, float]:
        """
        Hears the sample, each process its share of the batches.

        Args:
            model: In the midst of training, not wrapped; left as it was.
            request ([`StopRequest`]): Stops it after the batch of this process that is being transcribed.

        Returns:
            `dict[str, float]`: `wer` and `cer` of the whole sample, fractions, the same on every process; the
            `utterances` heard and the `listening_seconds` that it took.

        Raises:
            TrainingError: A clip cannot be read any more; on every process.
            ValidationInterrupted: One of the processes was asked to stop; on every process.
        """
        started = time.perf_counter()
        state = PartialState()
        batches = list(batches_by_seconds(self.clips.column("audio_seconds"), self.batch_seconds))
        mine: dict[int, str] = {}
        refusal = ""
        try:
            with inference_undone(model, self.processor):
                mine = self._heard(model, batches[state.process_index :: state.num_processes], request)
        except EscoitaError as error:
            refusal = str(error)
        shares = gathered((mine, refusal, request.signum), state)
        if refused := [said for _, said, _ in shares if said]:
            raise TrainingError(f"validation: {refused[0]}; give the command again to go on from the last checkpoint")
        if any(signum for _, _, signum in shares):
            raise ValidationInterrupted
        heard = {index: text for share, _, _ in shares for index, text in share.items()}
        alike = normalizer(self.normalizer)
        references = [alike(text) for text in self.clips.column("text")]
        hypotheses = [alike(heard[index]) for index in range(len(references))]
        return {
            "wer": word_edits(references, hypotheses).rate,
            "cer": character_edits(references, hypotheses).rate,
            "utterances": len(references),
            "listening_seconds": round(time.perf_counter() - started, 3),
        }

    def _heard(self, model: Any, batches: Iterable[list[int]], request: StopRequest) -> dict[int, str]:
        """What is heard in these batches, by the place of the clip in the sample."""
        if self._transcriber is None:
            self._transcriber = Transcriber(
                self.family, model, self.processor, self.generation_settings, self.batch_seconds
            )
        self._transcriber.model = model.eval()
        found = self._transcriber.in_batches(lambda index: read_clip(self.clips[index]), batches)
        heard: dict[int, str] = {}
        for indices, transcripts in found:
            heard |= {index: transcript.text for index, transcript in zip(indices, transcripts, strict=True)}
            if request.signum:
                break
        return heard


def sample(corpora: list[str], clips: int) -> list[int]:
    """
    Draws clips in proportion to their corpora, at least one of each, always the same ones.

    Args:
        corpora (`list[str]`): The corpus of every clip.
        clips (`int`): How many are wanted; one of each corpus comes even so.

    Returns:
        `list[int]`: Indices, rising.
    """
    draw = np.random.default_rng(SEED)
    names, which, sizes = np.unique(np.array(corpora, object), return_inverse=True, return_counts=True)
    # One of each, and of the others as many of each corpus as its share; what rounding left over, by what it took.
    left = max(0, min(clips, len(corpora)) - len(names))
    exact = left * (sizes - 1) / max(1, sum(sizes - 1))
    counts = exact.astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: left - counts.sum()]] += 1
    drawn = [draw.permutation(np.flatnonzero(which == place))[: 1 + count] for place, count in enumerate(counts)]
    return sorted(int(index) for part in drawn for index in part)
