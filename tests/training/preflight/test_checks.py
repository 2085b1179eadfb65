from collections.abc import Callable

import pytest
import torch

from escoita.recipe.schema import Recipe
from escoita.training import arguments
from escoita.training.preflight import checks as machine
from escoita.training.preflight.checks import find_machine, find_precision


def test_a_machine_without_a_gpu(short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "nvidia_gpu_there", lambda: False)
    gpu, precision = find_machine(short_recipe())
    assert gpu.mark == "warning" and gpu.found.startswith("none;")
    assert (precision.mark, precision.found) == ("ok", "float32")


def test_a_gpu_that_torch_cannot_use(short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(machine, "nvidia_gpu_there", lambda: True)
    gpu = next(find_machine(short_recipe()))
    assert gpu.mark == "warning" and "built without CUDA" in gpu.found and "pytorch.org" in gpu.advice


@pytest.mark.parametrize(
    "asked, gpu, bf16, mark",
    [
        ("bf16", True, True, "ok"),
        ("bf16", True, False, "refusal"),
        ("bf16", False, False, "refusal"),
        ("fp16", True, False, "ok"),
        ("fp16", False, False, "refusal"),
        ("tf32", False, False, "ok"),
    ],
)
def test_precision(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, asked: str, gpu: bool, bf16: bool, mark: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    recipe = short_recipe("training.bf16=false", *([f"training.{asked}=true"] if asked != "tf32" else []))
    found = find_precision(recipe)
    assert found.mark == mark and bool(found.advice) == (mark == "refusal")


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize("training", [{}, {"bf16": None}, {"use_cpu": True}])
@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_where_the_recipe_does_not_say_it_is_what_training_takes(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, gpu: bool, training: dict, dtype: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
    monkeypatch.setattr(arguments, "is_torch_bf16_gpu_available", lambda: gpu)
    recipe = short_recipe().model_copy(update={"training": training, "dtype": dtype})
    taken = gpu and dtype == "auto" and not training.get("use_cpu")
    found = find_precision(recipe)
    assert (found.mark, found.found) == ("ok", "bf16" if taken else "float32")


def test_two_precisions_at_once_are_refused(short_recipe: Callable[..., Recipe]) -> None:
    assert find_precision(short_recipe("training.fp16=true", "training.bf16=true")).found == "fp16 and bf16 together"
