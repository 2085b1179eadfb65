"""Test the selection of the backend; `tests/unsloth` tests Unsloth itself."""

import builtins
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from escoita.errors import RecipeError, TrainingError
from escoita.models import family_of
from escoita.recipe.schema import Recipe
from escoita.training.backends import ImportOrderError, import_first, load_for_training, prepare_precision


Make = Callable[..., Recipe]


@pytest.fixture
def nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the modules that are not imported at the start of a command."""
    backend = "escoita.training.unsloth_backend"
    for name in [*sys.modules]:
        if name.split(".")[0] in ("transformers", "trl", "peft", "unsloth") or name == backend:
            monkeypatch.delitem(sys.modules, name)


def failing(error: Exception) -> Callable[..., ModuleType]:
    """Return an import function that fails only for Unsloth."""
    before = builtins.__import__

    def importing(name: str, *arguments: Any) -> ModuleType:
        if name == "unsloth":
            raise error
        return before(name, *arguments)

    return importing


def test_transformers_loads_the_base_without_the_adapter(short_recipe: Make) -> None:
    import_first(short_recipe())
    model, adapter = load_for_training(short_recipe(), family_of("quickstart/gemma4"))
    assert adapter and adapter.r == 8 and not hasattr(model, "peft_config")


def test_unsloth_after_transformers_is_refused(short_recipe: Make) -> None:
    import transformers  # noqa: F401

    with pytest.raises(ImportOrderError) as error:
        import_first(short_recipe("engine=unsloth"))
    assert (error.value.key, error.value.value, error.value.package) == ("engine", "unsloth", "transformers")


@pytest.mark.usefixtures("nothing_imported")
@pytest.mark.parametrize(
    "failure, problem, hint",
    [
        (ModuleNotFoundError("No module named 'unsloth'", name="unsloth"), "not installed", "'escoita[unsloth]'"),
        (NotImplementedError("You need\na GPU."), "You need a GPU.", None),
        (ImportError("torchvision is too old"), "torchvision is too old", None),
    ],
)
def test_a_failed_import_of_unsloth_is_one_line(
    short_recipe: Make, monkeypatch: pytest.MonkeyPatch, failure: Exception, problem: str, hint: str | None
) -> None:
    monkeypatch.setattr(builtins, "__import__", failing(failure))
    with pytest.raises(TrainingError) as error:
        import_first(short_recipe("engine=unsloth"))
    assert (error.value.key, error.value.value, error.value.problem) == ("engine", "unsloth", problem)
    assert hint in error.value.hint if hint and error.value.hint else error.value.hint is hint


def test_modules_are_not_trained_with_unsloth(short_recipe: Make) -> None:
    method = "method={kind: modules, modules: [audio_tower]}"
    with pytest.raises(RecipeError) as error:
        import_first(short_recipe("engine=unsloth", method))
    assert (error.value.key, error.value.value) == ("engine", "unsloth")


@pytest.mark.slow
def test_the_command_imports_unsloth_first(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    arguments = ["--recipe", "recipes/quickstart-uzbek.yaml", "--set", "engine=unsloth"]
    ran = command("training/sft.py", *arguments, "--dry-run")
    assert ran.returncode == 1 and "Traceback" not in ran.stderr
    # Whether Unsloth is installed or not, and with or without a GPU, transformers must not have been imported first.
    assert "engine: unsloth" in ran.stderr and "before transformers" not in ran.stderr


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.encoder(features)))


def adapted(dtype: torch.dtype) -> torch.nn.Module:
    torch.manual_seed(0)
    settings = LoraConfig(target_modules="dummy-target-modules", modules_to_save=["encoder"])
    return get_peft_model(Small().to(dtype), settings)


def test_trained_weights_become_float32_and_frozen_ones_stay() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        model = adapted(dtype)
        before = {name: parameter.clone() for name, parameter in model.named_parameters()}
        prepare_precision(model)
        for name, parameter in model.named_parameters():
            assert parameter.dtype == (torch.float32 if parameter.requires_grad else dtype)
            assert torch.equal(parameter.to(dtype), before[name])


def test_a_model_in_float32_is_not_changed() -> None:
    model = adapted(torch.float32)
    places = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    prepare_precision(model)
    assert {name: parameter.data_ptr() for name, parameter in model.named_parameters()} == places


def test_a_small_step_is_taken() -> None:
    """A step of 1e-5 is smaller than the difference of two numbers in half precision."""
    model = adapted(torch.float16)
    prepare_precision(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [parameter.clone() for parameter in trained]
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(torch.ones(1, 4)).float().square().sum()
    loss.backward()
    torch.optim.SGD(trained, lr=1e-5).step()
    assert all(parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in trained)
    assert any(not torch.equal(parameter, old) for parameter, old in zip(trained, before, strict=True))
