import gc
import json
import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from safetensors.torch import load_file, save_file

from escoita.models import family_of
from escoita.models.families import BY_MODEL_TYPE, LANGUAGE_LAYERS
from escoita.recipe.schema import Recipe, load_recipe
from escoita.training.preflight.report import examine
from escoita.training.trial import TrialError, corresponding, trial_arguments
from tests.models import bases
from tests.models.test_generic import CASES
from tests.training.trials import Case, quickstart, recipe_with


MODULES = {"ctc": "wav2vec2_bert.encoder", "whisper": "model.encoder, model.decoder"}
LM_HEAD = "method={r: 4, target_modules: '.*lm_head', trainable: {language: some}}"


def stored_in(folder: Path, name: str, dtype: str) -> str:
    """Write a tiny base of the quick start with weights of another precision, and return its folder."""
    base = folder / "base"
    shutil.copytree(Path("quickstart") / name, base)
    weights = base / "model.safetensors"
    half = {key: tensor.to(getattr(torch, dtype)) for key, tensor in load_file(weights).items()}
    save_file(half, weights, metadata={"format": "pt"})
    config = json.loads((base / "config.json").read_text("utf-8"))
    (base / "config.json").write_text(json.dumps(config | {"dtype": dtype}), "utf-8")
    return str(base)


def test_the_quick_start_recipes_are_accepted() -> None:
    quickstart().check(recipe_with())
    recipe = load_recipe("recipes/quickstart-galician.yaml")
    Case(recipe.base).check(recipe)


@pytest.mark.parametrize(
    "training, field",
    [
        ({"optim": "lomo"}, "optim"),
        ({"loss_type": "mse"}, "loss_type"),
        ({"use_liger_kernel": True}, "use_liger_kernel"),
        ({"lr_scheduler_kwargs": {"x": 1}}, "lr_scheduler_kwargs"),
        ({"lr_scheduler_type": "warmup_stable_decay"}, "lr_scheduler_type"),
        ({"adam_beta1": 1.5, "weight_decay": 0.1}, "adam_beta1"),
        ({"gradient_checkpointing_kwargs": {"x": 1}}, "gradient_checkpointing_kwargs"),
        ({"router_aux_loss_coef": 0.5}, "router_aux_loss_coef"),
        ({"dataloader_persistent_workers": True}, "dataloader_persistent_workers"),
        ({"torch_compile": True, "torch_compile_backend": "nothing"}, "torch_compile_backend"),
        ({"log_level": "loud"}, "log_level"),
    ],
)
def test_an_error_names_the_field_that_is_the_cause(training: dict[str, Any], field: str) -> None:
    with pytest.raises(TrialError) as error:
        quickstart().check(recipe_with(training))
    assert error.value.key == f"training.{field}" and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "training",
    [
        {"neftune_noise_alpha": 5.0},
        {"gradient_checkpointing": False, "max_grad_norm": 0.5},
        {"optim": "adafactor", "lr_scheduler_type": "cosine"},
        {"dataloader_num_workers": 2, "dataloader_persistent_workers": True},
        {"max_steps": 400, "save_steps": 7, "logging_steps": 3},
        {"loss_type": "dft"},
        {"torch_compile": True},
    ],
)
def test_supported_settings_are_accepted(training: dict[str, Any]) -> None:
    quickstart().check(recipe_with(training))


def test_two_wrong_fields_are_refused() -> None:
    with pytest.raises(TrialError) as error:
        quickstart().check(recipe_with({"optim": "lomo", "loss_type": "mse"}))
    assert error.value.key == "training"


def test_an_adapter_on_the_head_is_refused() -> None:
    with pytest.raises(TrialError) as error:
        quickstart().check(recipe_with(None, LM_HEAD))
    assert error.value.key == "method or base" and "lm_head" in error.value.problem


def test_fields_can_be_excluded() -> None:
    recipe = recipe_with({"fsdp": "full_shard"})
    quickstart().check(recipe, excluded=["fsdp"])
    with pytest.raises(TrialError) as error:
        quickstart().check(recipe)
    assert error.value.key == "training.fsdp" and "distributed" in error.value.problem


def test_the_state_of_the_process_is_restored() -> None:
    def state() -> tuple[Any, ...]:
        randoms = (torch.random.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
        processor = quickstart().processor
        template = processor.tokenizer.eos_token, processor.chat_template
        return randoms, dict(os.environ), logging.root.manager.disable, gc.get_freeze_count(), template

    quickstart()
    before, deterministic = state(), torch.are_deterministic_algorithms_enabled()
    quickstart().check(recipe_with({"full_determinism": True, "torch_compile": True, "seed": 3}))
    assert state() == before
    assert torch.are_deterministic_algorithms_enabled() is deterministic


def test_incomplete_batches_are_not_dropped(tmp_path: Path) -> None:
    """Two processes with batches of two would drop a batch of two rows."""
    assert not trial_arguments(recipe_with({"dataloader_drop_last": True}), tmp_path, 2).dataloader_drop_last


def test_deepspeed_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    case = quickstart()
    monkeypatch.setitem(PartialState._shared_state, "distributed_type", DistributedType.DEEPSPEED)
    case.check(recipe_with({"loss_type": "mse"}))


@pytest.mark.parametrize("name", CASES)
def test_a_step_on_a_copy_of_every_family(tmp_path: Path, name: str) -> None:
    CASES[name].write(tmp_path)
    info = BY_MODEL_TYPE[name.partition(" ")[0]]
    method = f"method={{r: 4, target_modules: '{info.target_modules}'}}"
    prompt = f"prompt={{user: '{CASES[name].user}', system: ''}}"
    case = Case(str(tmp_path))
    case.check(recipe_with({"gradient_checkpointing": name != "granite_speech"}, f"base={tmp_path}", method, prompt))
    if name == "granite_speech":
        with pytest.raises(TrialError) as error:
            case.check(recipe_with(None, f"base={tmp_path}", method, prompt))
        assert error.value.key == "training.gradient_checkpointing"
        assert error.value.hint is not None and "false" in error.value.hint


@pytest.mark.parametrize("stored", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["ctc", "whisper"])
def test_stored_half_precision_is_tried_in_the_precision_of_the_recipe(tmp_path: Path, name: str, stored: str) -> None:
    """The frozen layers before trained ones would have the stored precision, and inputs of float32."""
    base = stored_in(tmp_path, name, stored)
    method = f"method={{kind: modules, modules: [{MODULES[name]}]}}"
    lora = f"method={{r: 4, target_modules: '{family_of(base).info.target_modules}'}}"
    for chosen in (method, lora):
        options = (f"base={base}", chosen, "prompt={user: ''}")
        case = Case(base)
        case.check(recipe_with({"gradient_checkpointing": False}, *options, "dtype=float32"))


def test_a_precision_that_is_the_cause_is_named(tmp_path: Path) -> None:
    base = stored_in(tmp_path, "ctc", "bfloat16")
    method = f"method={{kind: modules, modules: [{MODULES['ctc']}]}}"
    with pytest.raises(TrialError) as error:
        Case(base).check(recipe_with(None, f"base={base}", method, "prompt={user: ''}", "dtype=auto"))
    assert error.value.key == "dtype" and error.value.hint is not None and "float32" in error.value.hint


def test_layers_of_the_full_base_are_accepted() -> None:
    """A recipe may name the last layer, which the copy does not have."""
    for layers in ("2", "(1|2)"):
        target = rf"'.*language_model.layers.{layers}..*q_proj'"
        method = f"method={{r: 4, target_modules: {target}, trainable: {{language: some}}}}"
        quickstart().check(recipe_with(None, method))


@pytest.mark.parametrize(
    "names, expected",
    [
        (["layers.0.q"], ["layers.0.q"]),
        (["layers.1.q", "layers.7.q"], ["layers.1.q"]),
        (["layers.7.q"], ["layers.0.q", "layers.1.q"]),
        (["mlp.2"], ["mlp.2"]),
        (["layers.9"], ["layers.0", "layers.1"]),
    ],
)
def test_modules_of_the_copy_correspond_to_modules_of_the_base(names: list[str], expected: list[str]) -> None:
    layers = [torch.nn.ModuleDict({"q": torch.nn.Linear(1, 1)}) for _ in range(2)]
    mlp = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU(), torch.nn.Linear(1, 1))
    small = torch.nn.ModuleDict({"layers": torch.nn.ModuleList(layers), "mlp": mlp})
    assert corresponding(names, small) == expected


def test_doctor_and_training_refuse_before_the_base_is_loaded(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    from escoita.models.gemma4 import Gemma4Family
    from escoita.training.sft import train

    def loaded(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the base was loaded")

    monkeypatch.setattr(Gemma4Family, "load_model", loaded)
    recipe = short_recipe("training.optim=lomo")
    (found,) = [each for each in examine(recipe) if each.mark == "refusal"]
    assert found.about == "trial" and found.error is not None and found.error.key == "training.optim"
    for dry_run in (True, False):
        with pytest.raises(TrialError) as error:
            train(recipe, dry_run=dry_run)
        assert error.value.key == "training.optim" and "ImportError" in error.value.problem
    assert not recipe.run_path.exists()


def test_doctor_does_not_try_a_recipe_that_is_already_refused(short_recipe: Callable[..., Recipe]) -> None:
    refused = [each for each in examine(short_recipe("training.packing=true")) if each.mark == "refusal"]
    assert [each.about for each in refused] == ["recipe"]


def test_a_copy_with_too_many_parameters_is_refused(tmp_path: Path) -> None:
    bases.write_qwen3_asr(tmp_path)
    text = (tmp_path / "config.json").read_text("utf-8")
    (tmp_path / "config.json").write_text(text.replace('"vocab_size": 2', '"vocab_size": 900002'), "utf-8")
    recipe = recipe_with(None, f"base={tmp_path}", f"method={{r: 4, target_modules: '{LANGUAGE_LAYERS}'}}")
    with pytest.raises(TrialError) as error:
        Case(str(tmp_path)).check(recipe)
    assert error.value.key == "method or base"
