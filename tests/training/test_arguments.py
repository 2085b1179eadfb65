from pathlib import Path
from typing import Any

import pytest
import yaml

from escoita.errors import RecipeError
from escoita.recipe import Recipe
from escoita.rundir import RunDirectory
from tests.escoita.samples import RECIPE
from training.arguments import lora_config, sft_config


def recipe(training: dict[str, Any] | None = None, **method: Any) -> Recipe:
    document = yaml.safe_load(RECIPE)
    document["training"] |= training or {}
    document["method"] |= method
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
    arguments = sft_config(recipe({"disable_tqdm": True, "dataloader_pin_memory": True}), RunDirectory(tmp_path))
    assert arguments.disable_tqdm is True and arguments.dataloader_pin_memory is True


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
        ({"seed": 1.5}, "training.seed: Input should be a valid integer, got a number with a fractional part"),
        ({"bf16": "maybe"}, "training.bf16: Input should be a valid boolean"),
        ({"lr_scheduler_type": "nope"}, "training: nope is not a valid SchedulerType"),
    ],
)
def test_impossible_arguments_are_refused_in_one_line(tmp_path: Path, training: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(recipe(training), RunDirectory(tmp_path))
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["hub_token", "hub_model_id", "push_to_hub", "output_dir"])
def test_what_is_not_a_recipes_to_say(tmp_path: Path, key: str) -> None:
    with pytest.raises(RecipeError, match=f"^training.{key}: is set by escoita; leave it out$"):
        sft_config(recipe({key: "hf_secret"}), RunDirectory(tmp_path))


def test_evaluating_on_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"^training.eval_strategy: there is no corpus in corpora.validation"):
        sft_config(recipe({"eval_strategy": "epoch", "bf16": False}), RunDirectory(tmp_path))


def test_no_may_be_written_without_quotes(tmp_path: Path) -> None:
    config = sft_config(
        recipe({"save_strategy": False, "eval_strategy": False, "bf16": False}), RunDirectory(tmp_path)
    )
    assert (config.save_strategy, config.eval_strategy, config.bf16) == ("no", "no", False)


def test_the_adapter_is_as_the_recipe_says() -> None:
    config = lora_config(recipe(lora_alpha=32, lora_dropout=0.1, bias="lora_only", use_rslora=True))
    assert (config.r, config.lora_alpha, config.lora_dropout, config.bias) == (4, 32, 0.1, "lora_only")
    assert config.use_rslora is True and config.target_modules == ".*_proj" and config.task_type == "CAUSAL_LM"
