"""Generation during training: what it changes in the model is restored, so that training continues as before."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import TrainerCallback

from escoita.errors import TrainingError


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
