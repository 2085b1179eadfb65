"""Every field of SFTConfig: a recipe cannot set it, or it is refused with a reason, or has no effect, or is used."""

import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from trl import SFTConfig

from escoita.errors import EscoitaError, RecipeError
from escoita.run_directory import RunDirectory
from escoita.training.arguments import NO_EFFECT, ONLY_WITH, RENAMED, UNSUPPORTED, sft_config, without_effect
from tests.training.trials import quickstart, recipe_with


FIELDS = {field.name: field for field in dataclasses.fields(SFTConfig) if field.init}
# Where any value of the declared type would not be one that a person writes.
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
# Not used in one step of one process, but when checkpoints are written and resumed from, by trackers, or between
# processes.
USED_ELSEWHERE = {
    "ddp_timeout",
    "ignore_data_skip",
    "run_name",
    "save_total_limit",
    "tf32",  # when the arguments are made
}
# As the issue of each of them has it; of other fields any of the outcomes is in order.
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
    """A value of the field that is not its default."""
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
    """Fields that something reads of the arguments, apart from what writes or checks all of them."""
    found: set[str] = set()
    whole = {"to_dict", "to_sanitized_dict", "to_json_string", "__str__", "__post_init__", "<dictcomp>"}
    plain = SFTConfig.__getattribute__

    def noticed(self: SFTConfig, name: str) -> Any:
        if name in FIELDS and sys._getframe(1).f_code.co_name not in whole:
            found.add(name)
        return plain(self, name)

    monkeypatch.setattr(SFTConfig, "__getattribute__", noticed)
    yield found


def outcome(name: str, folder: Path, used: set[str]) -> str:
    """Which of the outcomes a field has; a traceback is none."""
    recipe = recipe_with({name: other_value(name)})
    environment = dict(os.environ)
    try:
        sft_config(recipe, RunDirectory(folder))
        used.clear()
        quickstart().check(recipe)
    except EscoitaError as error:
        assert "\n" not in str(error) and len(str(error)) > len(f"training.{name}: ")
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
    """A field that a later TRL adds is refused or used, or is to be put into a table of training/arguments.py."""
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
def test_what_a_training_of_speech_cannot_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(recipe_with({name: other_value(name)}), RunDirectory(tmp_path))
    assert str(error.value) == f"training.{name}: {UNSUPPORTED[name]}; leave it out"
    sft_config(recipe_with({name: FIELDS[name].default}), RunDirectory(tmp_path))


@pytest.mark.parametrize("key, value", [("deepspeed", {"x": 1}), ("deepspeed", "none.json"), ("fsdp", "x")])
def test_a_missing_package_is_a_refusal_in_one_line(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(RecipeError, match="^training: ") as error:
        sft_config(recipe_with({key: value}), RunDirectory(tmp_path))
    assert "\n" not in str(error.value)


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
    said = list(without_effect(recipe_with(training)))
    assert [line.partition(":")[0] for line in said] == [f"training.{name}" for name in names]


@pytest.mark.parametrize("value", [True, False, None])
def test_a_field_of_two_names_has_one_here(tmp_path: Path, value: bool | None) -> None:
    """By the other name, checks, the estimate of memory, and Unsloth would not know what is set."""
    with pytest.raises(
        RecipeError, match=r"^training.activation_checkpointing: write training.gradient_checkpointing"
    ):
        sft_config(recipe_with({"activation_checkpointing": value}), RunDirectory(tmp_path))
