import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from escoita.errors import RecipeError
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.training.arguments import peft_config, planned_steps, sft_config
from tests.samples import RECIPE


def recipe(training: dict[str, Any] | None = None, **method: Any) -> Recipe:
    document = yaml.safe_load(RECIPE)
    document["training"] |= training or {}
    document["method"] |= method
    return Recipe.model_validate(document)


def heard(training: dict[str, Any] | None = None, **sections: Any) -> Recipe:
    """The same with a corpus to validate on."""
    document = yaml.safe_load(RECIPE) | sections
    document["training"] |= training or {}
    document["corpora"]["validation"] = [{"name": "clips", "path": "validation.jsonl"}]
    return Recipe.model_validate(document)


def test_fields_go_through_under_their_own_names(tmp_path: Path) -> None:
    asked = {"num_train_epochs": 3, "per_device_train_batch_size": 4, "lr_scheduler_type": "cosine", "save_steps": 7}
    arguments = sft_config(recipe(asked), RunDirectory(tmp_path))
    assert (arguments.num_train_epochs, arguments.per_device_train_batch_size, arguments.save_steps) == (3, 4, 7)
    assert (arguments.lr_scheduler_type, arguments.learning_rate) == ("cosine", 0.003)


def test_what_escoita_sets(tmp_path: Path) -> None:
    arguments = sft_config(recipe(), RunDirectory(tmp_path))
    assert arguments.output_dir == str(tmp_path / "checkpoints")
    assert arguments.dataset_kwargs == {"skip_prepare_dataset": True}
    assert arguments.remove_unused_columns is False and arguments.push_to_hub is False
    assert arguments.report_to == []


def test_a_default_of_ours_can_be_changed(tmp_path: Path) -> None:
    arguments = sft_config(recipe({"disable_tqdm": True, "dataloader_num_workers": 7}), RunDirectory(tmp_path))
    assert (arguments.disable_tqdm, arguments.dataloader_num_workers) == (True, 7)


@pytest.mark.parametrize("rate", ["1e-4", "1.0e-4", 1e-4])
def test_numbers_may_be_written_as_people_write_them(tmp_path: Path, rate: str | float) -> None:
    assert sft_config(recipe({"learning_rate": rate}), RunDirectory(tmp_path)).learning_rate == 0.0001


@pytest.mark.parametrize(
    "training, said",
    [
        ({"learning_rat": 1}, "training.learning_rat: SFTConfig has no such field; did you mean 'learning_rate'?"),
        ({"zzz": 1}, "training.zzz: SFTConfig has no such field"),
        ({"output_dir": "a"}, "training.output_dir: is set by escoita; leave it out"),
        ({"push_to_hub": True}, "training.push_to_hub: is set by escoita; leave it out"),
        ({"dataset_kwargs": {}}, "training.dataset_kwargs: is set by escoita; leave it out"),
        ({"learning_rate": "fast"}, "training.learning_rate: Input should be a valid number, unable to parse"),
        ({"save_steps": [1]}, "training.save_steps: Input should be a valid number, not [1]"),
        ({"learning_rate": 0}, "training.learning_rate: 0.0 trains nothing"),
        ({"learning_rate": -1e-4}, "training.learning_rate: -0.0001 trains nothing"),
        ({"learning_rate": math.inf}, "training.learning_rate: inf trains nothing"),
        ({"num_train_epochs": 0}, "training.num_train_epochs: 0.0 trains nothing"),
        ({"max_steps": 0}, "training.max_steps: 0 trains nothing"),
        ({"max_steps": 1, "warmup_steps": 0.03}, "training.warmup_steps: the only step"),
        ({"logging_nan_inf_filter": True}, "training.logging_nan_inf_filter: is set by escoita"),
        ({"gradient_accumulation_steps": 0}, "training.gradient_accumulation_steps: must be at least 1, not 0"),
        ({"per_device_train_batch_size": -1}, "training.per_device_train_batch_size: must be at least 1, not -1"),
        ({"seed": 1.5}, "training.seed: Input should be a valid integer, got a number with a fractional part"),
        ({"bf16": "maybe"}, "training.bf16: Input should be a valid boolean"),
        ({"lr_scheduler_type": "nope"}, "training: nope is not a valid SchedulerType"),
    ],
)
def test_impossible_arguments_are_refused_in_one_line(tmp_path: Path, training: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(recipe(training), RunDirectory(tmp_path))
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_one_step_without_a_warmup_is_a_training(tmp_path: Path) -> None:
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
def test_steps_are_counted_before(
    tmp_path: Path, training: dict[str, Any], clips: int, processes: int, steps: int
) -> None:
    arguments = sft_config(recipe({"per_device_train_batch_size": 8} | training), RunDirectory(tmp_path))
    assert planned_steps(arguments, clips, processes) == steps


@pytest.mark.parametrize("key", ["save_only_model", "enable_jit_checkpoint"])
def test_what_keeps_a_run_from_resuming_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(RecipeError, match=f"^training.{key}: .*; leave it out$"):
        sft_config(recipe({key: True}), RunDirectory(tmp_path))
    assert getattr(sft_config(recipe({key: False}), RunDirectory(tmp_path)), key) is False


@pytest.mark.parametrize("key", ["hub_token", "hub_model_id", "push_to_hub", "output_dir"])
def test_what_is_not_a_recipes_to_say(tmp_path: Path, key: str) -> None:
    with pytest.raises(RecipeError, match=f"^training.{key}: is set by escoita; leave it out$"):
        sft_config(recipe({key: "hf_secret"}), RunDirectory(tmp_path))


def test_evaluating_on_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"^training.eval_strategy: there is no corpus in corpora.validation"):
        sft_config(recipe({"eval_strategy": "epoch", "bf16": False}), RunDirectory(tmp_path))


def test_the_base_and_every_epoch_are_heard_where_there_is_a_corpus_for_it(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    arguments = sft_config(heard(), run)
    assert (arguments.eval_strategy, arguments.eval_on_start) == ("epoch", True)
    assert arguments.per_device_eval_batch_size == arguments.per_device_train_batch_size == 8
    assert arguments.prediction_loss_only is True
    asked = {"eval_strategy": "steps", "eval_steps": 0.2, "eval_on_start": False}
    arguments = sft_config(heard(asked), run)
    assert (arguments.eval_strategy, arguments.eval_steps, arguments.eval_on_start) == ("steps", 0.2, False)
    for arguments in (sft_config(heard({"eval_strategy": False}), run), sft_config(recipe(), run)):
        assert (arguments.eval_strategy, arguments.eval_on_start) == ("no", False)


@pytest.mark.parametrize(
    "training, validation, said",
    [
        (
            {"load_best_model_at_end": True},
            {},
            "training.load_best_model_at_end: escoita keeps the adapter of the low",
        ),
        (
            {"metric_for_best_model": "wer"},
            {},
            "training.metric_for_best_model: escoita keeps the adapter of the lowe",
        ),
        (
            {"greater_is_better": False},
            {},
            "training.greater_is_better: escoita keeps the adapter of the lowest WER i",
        ),
        (
            {"save_strategy": "best"},
            {},
            "training.save_strategy: the best adapter is kept beside the checkpoints; wri",
        ),
        (
            {"eval_strategy": "no", "eval_on_start": True},
            {},
            "training.eval_on_start: nothing is evaluated, as training",
        ),
        (
            {"eval_strategy": "no"},
            {"patience": 2},
            "validation.patience: nothing is heard while training, as training.",
        ),
        (
            {},
            {"patience": 2, "clips": 0},
            "validation.patience: nothing is heard while training, as validation.clips is",
        ),
    ],
)
def test_contradictions_are_refused_in_one_line(
    tmp_path: Path, training: dict[str, Any], validation: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(heard(training, validation=validation), RunDirectory(tmp_path))
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "dtype, gpu, asked, bf16",
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
def test_bfloat16_is_for_gpus_that_can_and_recipes_that_want_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, gpu: bool, asked: dict[str, Any], bf16: bool
) -> None:
    for module in ("escoita.training.arguments", "transformers.training_args"):
        monkeypatch.setattr(f"{module}.is_torch_bf16_gpu_available", lambda: gpu)
    document = yaml.safe_load(RECIPE) | {"dtype": dtype, "training": asked}
    assert sft_config(Recipe.model_validate(document), RunDirectory(tmp_path)).bf16 is bf16


def test_bfloat16_that_a_machine_does_not_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.training_args.is_torch_bf16_gpu_available", lambda: False)
    with pytest.raises(RecipeError, match=r"^training: Your setup doesn't support bf16/gpu\."):
        sft_config(recipe({"bf16": True}), RunDirectory(tmp_path))


def test_no_may_be_written_without_quotes(tmp_path: Path) -> None:
    config = sft_config(
        recipe({"save_strategy": False, "eval_strategy": False, "bf16": False}), RunDirectory(tmp_path)
    )
    assert (config.save_strategy, config.eval_strategy, config.bf16) == ("no", "no", False)


def test_the_adapter_is_as_the_recipe_says() -> None:
    config = peft_config(recipe(lora_alpha=32, lora_dropout=0.1, bias="lora_only", use_rslora=True))
    assert (config.r, config.lora_alpha, config.lora_dropout, config.bias) == (4, 32, 0.1, "lora_only")
    assert config.use_rslora is True and config.target_modules == ".*_proj" and config.task_type == "CAUSAL_LM"


def test_modules_are_trained_whole() -> None:
    document = yaml.safe_load(RECIPE) | {"method": {"kind": "modules", "modules": ["audio_embed.encoder"]}}
    config = peft_config(Recipe.model_validate(document))
    assert config.modules_to_save == ["audio_embed.encoder"] and config.task_type == "CAUSAL_LM"
