import dataclasses
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import yaml
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from trl import SFTConfig

from escoita.errors import EscoitaError, RecipeError
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.training.arguments import (
    NO_EFFECT,
    ONLY_WITH,
    RENAMED,
    UNSUPPORTED,
    eval_batch_size,
    peft_config,
    planned_steps,
    sft_config,
    without_effect,
)
from escoita.utils.processes import PROCESS_TIMEOUT
from tests.samples import RECIPE
from tests.training.trials import quickstart, recipe_with


def recipe(training: dict[str, Any] | None = None, **method: Any) -> Recipe:
    document = yaml.safe_load(RECIPE)
    document["training"] |= training or {}
    document["method"] |= method
    return Recipe.model_validate(document)


def validated(training: dict[str, Any] | None = None, **sections: Any) -> Recipe:
    """Return the same recipe with a validation corpus."""
    document = yaml.safe_load(RECIPE) | sections
    document["training"] |= training or {}
    document["corpora"]["validation"] = [{"name": "clips", "path": "validation.jsonl"}]
    return Recipe.model_validate(document)


def test_fields_are_passed_under_their_names(tmp_path: Path) -> None:
    fields = {"num_train_epochs": 3, "per_device_train_batch_size": 4, "lr_scheduler_type": "cosine", "save_steps": 7}
    arguments = sft_config(recipe(fields), RunDirectory(tmp_path))
    assert (arguments.num_train_epochs, arguments.per_device_train_batch_size, arguments.save_steps) == (3, 4, 7)
    assert (arguments.lr_scheduler_type, arguments.learning_rate) == ("cosine", 0.003)


def test_fixed_arguments(tmp_path: Path) -> None:
    arguments = sft_config(recipe(), RunDirectory(tmp_path))
    assert arguments.output_dir == str(tmp_path / "checkpoints")
    assert arguments.dataset_kwargs == {"skip_prepare_dataset": True}
    assert arguments.remove_unused_columns is False and arguments.push_to_hub is False
    assert arguments.report_to == []


def test_a_recipe_overrides_a_default_of_escoita(tmp_path: Path) -> None:
    arguments = sft_config(recipe({"logging_first_step": True, "dataloader_num_workers": 7}), RunDirectory(tmp_path))
    assert (arguments.logging_first_step, arguments.dataloader_num_workers) == (True, 7)


@pytest.mark.parametrize("rate", ["1e-4", "1.0e-4", 1e-4])
def test_numbers_in_scientific_notation_are_accepted(tmp_path: Path, rate: str | float) -> None:
    assert sft_config(recipe({"learning_rate": rate}), RunDirectory(tmp_path)).learning_rate == 0.0001


@pytest.mark.parametrize(
    "training, key, value",
    [
        ({"learning_rat": 1}, "training.learning_rat", None),
        ({"zzz": 1}, "training.zzz", None),
        ({"output_dir": "a"}, "training.output_dir", None),
        ({"push_to_hub": True}, "training.push_to_hub", None),
        ({"dataset_kwargs": {}}, "training.dataset_kwargs", None),
        ({"learning_rate": "fast"}, "training.learning_rate", "fast"),
        ({"save_steps": [1]}, "training.save_steps", [1]),
        ({"learning_rate": 0}, "training.learning_rate", 0.0),
        ({"learning_rate": -1e-4}, "training.learning_rate", -0.0001),
        ({"learning_rate": math.inf}, "training.learning_rate", math.inf),
        ({"num_train_epochs": 0}, "training.num_train_epochs", 0.0),
        ({"max_steps": 0}, "training.max_steps", 0),
        ({"max_steps": 1, "warmup_steps": 0.03}, "training.warmup_steps", None),
        ({"logging_nan_inf_filter": True}, "training.logging_nan_inf_filter", None),
        ({"gradient_accumulation_steps": 0}, "training.gradient_accumulation_steps", 0),
        ({"per_device_train_batch_size": -1}, "training.per_device_train_batch_size", -1),
        ({"seed": 1.5}, "training.seed", 1.5),
        ({"bf16": "maybe"}, "training.bf16", "maybe"),
        ({"lr_scheduler_type": "nope"}, "training", None),
    ],
)
def test_invalid_arguments_are_refused(tmp_path: Path, training: dict[str, Any], key: str, value: Any) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(recipe(training), RunDirectory(tmp_path))
    assert (error.value.key, error.value.value) == (key, value) and "\n" not in str(error.value)


def test_a_misspelled_field_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(recipe({"learning_rat": 1}), RunDirectory(tmp_path))
    assert error.value.hint is not None and "'learning_rate'" in error.value.hint
    with pytest.raises(RecipeError) as error:
        sft_config(recipe({"batch_size": 1}), RunDirectory(tmp_path))
    assert error.value.hint is not None and "'per_device_train_batch_size'" in error.value.hint


def test_one_step_without_a_warmup_is_accepted(tmp_path: Path) -> None:
    above_zero = {"warmup_steps": 2, "lr_scheduler_type": "cosine_warmup_with_min_lr"}
    without = {"warmup_steps": 2, "lr_scheduler_type": "constant"}
    for training in ({}, without, above_zero, {"warmup_steps": 0.1, "max_steps": 2}):
        arguments = sft_config(recipe({"max_steps": 1} | training), RunDirectory(tmp_path))
        assert arguments.logging_nan_inf_filter is False


@pytest.mark.parametrize(
    "training, clips, processes, steps",
    [
        ({"max_steps": 7}, 100, 1, 7),
        ({"num_train_epochs": 1}, 17, 1, 3),
        ({"num_train_epochs": 1}, 17, 3, 1),
        ({"num_train_epochs": 2, "gradient_accumulation_steps": 2}, 17, 1, 4),
        ({"num_train_epochs": 0.1}, 80, 1, 1),
    ],
)
def test_planned_steps(tmp_path: Path, training: dict[str, Any], clips: int, processes: int, steps: int) -> None:
    arguments = sft_config(recipe({"per_device_train_batch_size": 8} | training), RunDirectory(tmp_path))
    assert planned_steps(arguments, clips, processes) == steps


@pytest.mark.parametrize("key", ["save_only_model", "enable_jit_checkpoint"])
def test_fields_that_prevent_resuming_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(recipe({key: True}), RunDirectory(tmp_path))
    assert error.value.key == f"training.{key}"
    assert getattr(sft_config(recipe({key: False}), RunDirectory(tmp_path)), key) is False


@pytest.mark.parametrize("key", ["hub_token", "hub_model_id", "push_to_hub", "output_dir"])
def test_fields_that_escoita_sets_are_refused_without_their_value(tmp_path: Path, key: str) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(recipe({key: "hf_secret"}), RunDirectory(tmp_path))
    assert error.value.key == f"training.{key}" and "hf_secret" not in str(error.value)


def test_validation_without_a_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(recipe({"eval_strategy": "epoch", "bf16": False}), RunDirectory(tmp_path))
    assert error.value.key == "training.eval_strategy"


def test_the_base_and_every_epoch_are_validated_if_there_is_a_corpus(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    arguments = sft_config(validated(), run)
    assert (arguments.eval_strategy, arguments.eval_on_start) == ("epoch", True)
    assert arguments.per_device_eval_batch_size == arguments.per_device_train_batch_size == 8
    assert arguments.prediction_loss_only is True
    changed = {"eval_strategy": "steps", "eval_steps": 0.2, "eval_on_start": False}
    arguments = sft_config(validated(changed), run)
    assert (arguments.eval_strategy, arguments.eval_steps, arguments.eval_on_start) == ("steps", 0.2, False)
    for arguments in (sft_config(validated({"eval_strategy": False}), run), sft_config(recipe(), run)):
        assert (arguments.eval_strategy, arguments.eval_on_start) == ("no", False)


@pytest.mark.parametrize("size, processes, expected", [(1, 1, 8), (16, 1, 16), (1, 2, 1), (16, 2, 16)])
def test_default_of_the_evaluation_batch(
    monkeypatch: pytest.MonkeyPatch, size: int, processes: int, expected: int
) -> None:
    monkeypatch.setattr("escoita.training.arguments.os.environ", {"WORLD_SIZE": str(processes)})
    assert eval_batch_size(size) == expected


def test_processes_of_training_and_evaluation_have_the_same_timeout(tmp_path: Path) -> None:
    assert sft_config(recipe(), RunDirectory(tmp_path)).ddp_timeout_delta == PROCESS_TIMEOUT
    assert sft_config(recipe({"ddp_timeout": 60}), RunDirectory(tmp_path)).ddp_timeout == 60


@pytest.mark.parametrize(
    "training, validation, key",
    [
        ({"load_best_model_at_end": True}, {}, "training.load_best_model_at_end"),
        ({"metric_for_best_model": "wer"}, {}, "training.metric_for_best_model"),
        ({"greater_is_better": False}, {}, "training.greater_is_better"),
        ({"save_strategy": "best"}, {}, "training.save_strategy"),
        ({"eval_strategy": "no", "eval_on_start": True}, {}, "training.eval_on_start"),
        ({"eval_strategy": "no"}, {"patience": 2}, "validation.patience"),
        ({}, {"patience": 2, "clips": 0}, "validation.patience"),
    ],
)
def test_contradictions_are_refused(
    tmp_path: Path, training: dict[str, Any], validation: dict[str, Any], key: str
) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(validated(training, validation=validation), RunDirectory(tmp_path))
    assert error.value.key == key and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "dtype, gpu, training, bf16",
    [
        ("auto", True, {}, True),
        ("auto", True, {"bf16": None}, True),
        ("bfloat16", True, {}, True),
        ("float32", True, {}, False),
        ("float16", True, {}, False),
        ("auto", True, {"fp16": True}, False),
        ("auto", True, {"use_cpu": True}, False),
        ("auto", True, {"bf16": False}, False),
        ("auto", False, {}, False),
    ],
)
def test_bfloat16_is_the_default_if_gpu_and_recipe_allow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, gpu: bool, training: dict[str, Any], bf16: bool
) -> None:
    for module in ("escoita.training.arguments", "transformers.training_args"):
        monkeypatch.setattr(f"{module}.is_torch_bf16_gpu_available", lambda: gpu)
    document = yaml.safe_load(RECIPE) | {"dtype": dtype, "training": training}
    assert sft_config(Recipe.model_validate(document), RunDirectory(tmp_path)).bf16 is bf16


def test_bfloat16_without_hardware_support_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.training_args.is_torch_bf16_gpu_available", lambda: False)
    with pytest.raises(RecipeError) as error:
        sft_config(recipe({"bf16": True}), RunDirectory(tmp_path))
    assert error.value.key == "training" and "bf16" in error.value.problem


def test_no_is_accepted_without_quotes(tmp_path: Path) -> None:
    config = sft_config(
        recipe({"save_strategy": False, "eval_strategy": False, "bf16": False}), RunDirectory(tmp_path)
    )
    assert (config.save_strategy, config.eval_strategy, config.bf16) == ("no", "no", False)


def test_lora_settings_are_passed_to_peft() -> None:
    config = peft_config(recipe(lora_alpha=32, lora_dropout=0.1, bias="lora_only", use_rslora=True))
    assert (config.r, config.lora_alpha, config.lora_dropout, config.bias) == (4, 32, 0.1, "lora_only")
    assert config.use_rslora is True and config.target_modules == ".*_proj" and config.task_type == "CAUSAL_LM"


def test_full_modules_are_passed_to_peft() -> None:
    document = yaml.safe_load(RECIPE) | {"method": {"kind": "modules", "modules": ["audio_embed.encoder"]}}
    config = peft_config(Recipe.model_validate(document))
    assert config.modules_to_save == ["audio_embed.encoder"] and config.task_type == "CAUSAL_LM"


FIELDS = {field.name: field for field in dataclasses.fields(SFTConfig) if field.init}
# Fields for which not every value of the declared type is valid.
VALUES: dict[str, Any] = {
    "accelerator_config": {"split_batches": True},
    "activation_checkpointing_kwargs": {"use_reentrant": False},
    "chat_template_path": "template.jinja",
    "dataloader_multiprocessing_context": "fork",
    "deepspeed": {"zero_optimization": {"stage": 2}},
    "fsdp": "full_shard",
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "log_level": "error",
    "log_level_replica": "error",
    "max_steps": 7,
    "optim": "lomo",
    "optim_args": "amsgrad=1",
    "logging_strategy": "epoch",
    "eval_strategy": "steps",
    "save_strategy": "epoch",
    "lr_scheduler_type": "cosine",
    "pad_to_multiple_of": 8,
    "report_to": "neptune",
    "torch_compile_backend": "inductor",
    "torch_compile_mode": "default",
    "train_sampling_strategy": "sequential",
}
# Fields that are not used in one step of one process, but by checkpoints, trackers, or several processes.
USED_ELSEWHERE = {
    "ddp_timeout",
    "ignore_data_skip",
    "run_name",
    "save_total_limit",
    "tf32",  # used when the arguments are created
}
# The expected outcomes of some fields; other fields may have any of the outcomes.
EXPECTED = {
    "activation_checkpointing": "refused",
    "activation_checkpointing_kwargs": "refused",
    "activation_offloading": "refused",  # without a GPU
    "assistant_only_loss": "refused",
    "chat_template_path": "refused",
    "deepspeed": "refused",  # the package is not installed
    "eos_token": "refused",
    "fsdp": "refused",  # in one process
    "hub_token": "refused",
    "learning_rate": "used",
    "max_length": "used",
    "neftune_noise_alpha": "used",
    "optim": "refused",  # the package is not installed
    "output_dir": "refused",
    "packing": "refused",
    "padding_free": "refused",
    "push_to_hub": "refused",
    "seed": "used",
    "torch_compile": "used",
    "truncation_mode": "no effect",
    "trust_remote_code": "no effect",
    "use_liger_kernel": "refused",  # the package is not installed
}


def other_value(name: str) -> Any:
    """Return a value of the field that is not its default."""
    if name in VALUES:
        return VALUES[name]
    field, kind = FIELDS[name], get_type_hints(SFTConfig)[name]
    kinds = get_args(kind) or (kind,)
    default: Any = field.default
    if choices := field.metadata.get("choices"):
        return next(choice for choice in choices if choice != field.default)
    if bool in kinds:
        return not field.default
    if int in kinds:
        return int(default or 0) + 1
    if float in kinds:
        return float(default or 0.0) + 0.1
    if any(dict in (each, get_origin(each)) for each in kinds):
        return {"x": True}
    return ["x"] if any(list in (each, get_origin(each)) for each in kinds) else "x"


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Record the fields that are read, except by functions that read all of them."""
    found: set[str] = set()
    read_all = {"to_dict", "to_sanitized_dict", "to_json_string", "__str__", "__post_init__", "<dictcomp>"}
    original = SFTConfig.__getattribute__

    def recorded(self: SFTConfig, name: str) -> Any:
        if name in FIELDS and sys._getframe(1).f_code.co_name not in read_all:
            found.add(name)
        return original(self, name)

    monkeypatch.setattr(SFTConfig, "__getattribute__", recorded)
    yield found


def outcome(name: str, folder: Path, used: set[str]) -> str:
    """Return the outcome of a field; a traceback is not a valid outcome."""
    recipe = recipe_with({name: other_value(name)})
    environment = dict(os.environ)
    try:
        sft_config(recipe, RunDirectory(folder))
        used.clear()
        quickstart().check(recipe)
    except EscoitaError as error:
        assert "\n" not in str(error) and error.key and error.problem
        return "refused"
    finally:
        for added in os.environ.keys() - environment.keys():
            del os.environ[added]
        os.environ.update(environment)
    if list(without_effect(recipe)):
        return "no effect"
    return "used" if name in used | USED_ELSEWHERE else "not classified"


@pytest.mark.slow
@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_a_known_outcome(tmp_path: Path, used: set[str], name: str) -> None:
    """A field that a later TRL adds is refused, used, or must be added to a table of training/arguments.py."""
    found = outcome(name, tmp_path, used)
    assert found == EXPECTED.get(name, found)
    assert found != "not classified", f"{name} = {other_value(name)!r} is accepted, and nothing reads it"


@pytest.mark.parametrize("name", ["packing", "push_to_hub", "optim", "truncation_mode", "learning_rate"])
def test_one_field_of_each_outcome(tmp_path: Path, used: set[str], name: str) -> None:
    assert outcome(name, tmp_path, used) == EXPECTED[name]


def test_the_tables_name_fields_once_each() -> None:
    tables = [UNSUPPORTED.keys(), RENAMED.keys(), NO_EFFECT.keys(), ONLY_WITH.keys(), USED_ELSEWHERE]
    names = [name for table in tables for name in table]
    assert set(names) <= FIELDS.keys() and len(names) == len(set(names))
    others = {*RENAMED.values(), *(other for other, _ in ONLY_WITH.values())}
    assert others | EXPECTED.keys() | VALUES.keys() <= FIELDS.keys()


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_fields_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(recipe_with({name: other_value(name)}), RunDirectory(tmp_path))
    assert (error.value.key, error.value.problem) == (f"training.{name}", UNSUPPORTED[name])
    sft_config(recipe_with({name: FIELDS[name].default}), RunDirectory(tmp_path))


@pytest.mark.parametrize("key, value", [("deepspeed", {"x": 1}), ("deepspeed", "none.json"), ("fsdp", "x")])
def test_a_missing_package_is_refused_in_one_line(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(recipe_with({key: value}), RunDirectory(tmp_path))
    assert error.value.key == "training" and "\n" not in str(error.value)
    assert not is_deepspeed_zero3_enabled()  # `doctor` loads the base nevertheless


@pytest.mark.parametrize(
    "training, names",
    [
        ({"learning_rate": 1e-3}, []),
        ({"truncation_mode": "keep_end", "do_train": True, "do_eval": None}, ["truncation_mode", "do_train"]),
        ({"liger_kernel_config": {"rope": True}}, ["liger_kernel_config"]),
        ({"liger_kernel_config": {"rope": True}, "use_liger_kernel": True}, []),
        ({"optim_target_modules": "all-linear", "optim": "adamw_torch"}, ["optim_target_modules"]),
        ({"optim_target_modules": "all-linear", "optim": "galore_adamw"}, []),
        ({"project": "a", "report_to": ["tensorboard"]}, ["project"]),
        ({"project": "a", "report_to": ["tensorboard", "trackio"]}, []),
        ({"project": "a", "report_to": "trackio"}, []),
        ({"fsdp_config": {"x": 1}}, ["fsdp_config"]),
        ({"fsdp_config": {"x": 1}, "fsdp": "full_shard"}, []),
    ],
)
def test_fields_without_effect_are_named(training: dict[str, Any], names: list[str]) -> None:
    lines = list(without_effect(recipe_with(training)))
    assert [line.partition(":")[0] for line in lines] == [f"training.{name}" for name in names]


@pytest.mark.parametrize("value", [True, False, None])
def test_of_a_field_with_two_names_one_is_refused(tmp_path: Path, value: bool | None) -> None:
    """Checks, the memory estimate, and Unsloth read only one of the names."""
    with pytest.raises(RecipeError) as error:
        sft_config(recipe_with({"activation_checkpointing": value}), RunDirectory(tmp_path))
    assert error.value.key == "training.activation_checkpointing"
    assert error.value.hint is not None and "training.gradient_checkpointing" in error.value.hint
