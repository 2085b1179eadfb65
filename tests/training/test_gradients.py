import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from escoita.errors import UntrainedError
from escoita.training.sanity_checks import MOST_SKIPPED, GradientWatch, is_zero_at_first


ARGUMENTS: Any = SimpleNamespace(device=torch.device("cpu"), world_size=1, optim="adamw_torch")


class Watched:
    """Two towers with a pair of LoRA matrices each, which are watched."""

    def __init__(self, scaled: bool = False, learning_rate: float = 0.1, step: int = 0, **arguments: Any):
        self.model = nn.ModuleDict(
            {
                tower: nn.ModuleDict({name: nn.ModuleDict({"default": nn.Linear(2, 2, bias=False)}) for name in LORA})
                for tower in ("audio", "language", "vision")
            }
        )
        self.model["vision"].requires_grad_(False)
        for tower in ("audio", "language"):
            nn.init.zeros_(self.model[tower]["lora_B"]["default"].weight)
        self.optimizer = SimpleNamespace(
            param_groups=[{"lr": learning_rate}], scaler=torch.amp.GradScaler("cpu") if scaled else None
        )
        self.state = SimpleNamespace(global_step=step)
        self.watch = GradientWatch(lambda name: name.partition(".")[0])
        self.arguments = SimpleNamespace(**vars(ARGUMENTS) | arguments)
        self.watch.on_train_begin(self.arguments, self.state, None, self.model)

    def step(self, audio: float | None = 1.0, language: float | None = 1.0, moves: bool = True) -> None:
        """A step with these gradients; those of `None` are missing."""
        for tower, value in (("audio", audio), ("language", language)):
            for parameter in self.model[tower].parameters():
                parameter.grad = None if value is None else torch.full_like(parameter, value)
        self.watch.on_pre_optimizer_step(self.arguments, self.state, None, self.optimizer)
        if moves:
            for tower in ("audio", "language"):
                nn.init.ones_(self.model[tower]["lora_B"]["default"].weight)
        self.state.global_step += 1

    def log(self, **logs: float) -> None:
        self.watch.on_log(self.arguments, self.state, None, logs=logs or {"loss": 1.0})


LORA = ("lora_A", "lora_B")


def test_a_training_with_gradients_goes_on() -> None:
    watched = Watched()
    for _ in range(3):
        watched.step()
        watched.step(audio=0.0)  # one step of a window
        watched.log()
    watched.watch.on_train_end(ARGUMENTS, watched.state, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_step_that_is_not_finite_ends_the_training_with_its_tower(value: float) -> None:
    watched = Watched()
    watched.step()
    watched.log()
    watched.step()
    watched.step(audio=value)
    watched.step()
    with pytest.raises(UntrainedError) as refused:
        watched.log()
    assert (refused.value.towers, refused.value.step) == (("audio",), 4)
    assert "steps 2 to 4" in str(refused.value) and "audio" in str(refused.value)


def test_evaluations_are_not_training() -> None:
    watched = Watched()
    watched.step(audio=math.nan)
    watched.log(eval_loss=1.0)
    with pytest.raises(UntrainedError):
        watched.watch.on_train_end(ARGUMENTS, watched.state, None)


def test_the_scaler_of_fp16_may_skip_steps_but_not_forever() -> None:
    watched = Watched(scaled=True)
    for _ in range(MOST_SKIPPED - 1):
        watched.step(audio=math.inf, moves=False)
        watched.log()
    watched.step()
    watched.log()
    for _ in range(MOST_SKIPPED):
        watched.step(audio=math.inf)
    with pytest.raises(UntrainedError) as refused:
        watched.log()
    assert refused.value.towers == ("audio",)


@pytest.mark.parametrize("value", [0.0, None])
def test_a_tower_without_gradients_in_a_window_ends_the_training(value: float | None) -> None:
    watched = Watched()
    watched.step(audio=value)
    watched.step(audio=value)
    with pytest.raises(UntrainedError) as refused:
        watched.log()
    assert refused.value.towers == ("audio",) and "method.trainable" in str(refused.value)


def test_gradients_that_are_zero_in_all_towers_end_the_training() -> None:
    watched = Watched()
    watched.step(0.0, 0.0)
    with pytest.raises(UntrainedError) as refused:
        watched.log()
    assert refused.value.towers == ("audio", "language")


@pytest.mark.parametrize("optim", ["lomo", "adalomo", "galore_adamw_layerwise"])
def test_an_optimizer_that_keeps_no_gradients_is_not_measured(optim: str) -> None:
    watched = Watched(optim=optim)
    watched.step(audio=None, language=None)
    watched.log()


def test_matrices_that_stay_zero_end_the_training_once_the_learning_rate_is_not() -> None:
    watched = Watched(learning_rate=0.0)
    watched.step(moves=False)
    watched.log()  # the first step of a warm-up
    watched.optimizer.param_groups[0]["lr"] = 1e-3
    watched.step(moves=False)
    with pytest.raises(UntrainedError) as refused:
        watched.log()
    assert refused.value.towers == ("audio", "language") and "zero" in str(refused.value)


def test_a_run_that_resumes_at_its_last_step_has_no_window() -> None:
    watched = Watched(step=600)
    watched.watch.on_train_end(ARGUMENTS, watched.state, None)
    watched.log()


def test_tiny_and_huge_gradients_are_neither_zero_nor_infinite() -> None:
    watched = Watched()
    watched.step(audio=1e-30, language=1e30)
    watched.log()


def test_names_of_what_is_zero_at_first() -> None:
    assert is_zero_at_first("base_model.model.a.q_proj.lora_B.default.weight")
    assert is_zero_at_first("base_model.model.embed.lora_embedding_A.default")
    assert not is_zero_at_first("base_model.model.a.lora_A.default.weight")
