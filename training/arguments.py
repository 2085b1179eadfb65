"""The recipe in TRL's and PEFT's own words."""

import dataclasses
import sys
from typing import Any, get_type_hints

import torch
from peft import LoraConfig
from pydantic import TypeAdapter, ValidationError
from trl import SFTConfig

from escoita.errors import RecipeError
from escoita.recipe import Recipe, nearest
from escoita.rundir import RunDirectory


def sft_config(recipe: Recipe, run: RunDirectory) -> SFTConfig:
    """
    Builds the arguments of SFTTrainer.

    Args:
        recipe ([`Recipe`]): Its `training` section holds fields of SFTConfig under their own names.
        run ([`RunDirectory`]): Where the checkpoints go.

    Raises:
        RecipeError: A field is unknown, is not a recipe's to set, or has an impossible value.
    """
    ours: dict[str, Any] = {
        "output_dir": str(run.checkpoints),
        "remove_unused_columns": False,  # the collator needs them
        "dataset_kwargs": {"skip_prepare_dataset": True},  # TRL has no audio path and would train on text alone
        "length_column_name": "length",
        "restore_callback_states_from_checkpoint": True,
        "push_to_hub": False,
    }
    known = [field.name for field in dataclasses.fields(SFTConfig) if field.init]
    types = get_type_hints(SFTConfig)
    asked: dict[str, Any] = {}
    for key, value in recipe.training.items():
        if key in ours or key.startswith("hub_"):
            raise RecipeError(f"training.{key}: is set by escoita; leave it out")
        if key not in known:
            raise RecipeError(f"training.{key}: SFTConfig has no such field{nearest(key, known)}")
        asked[key] = _typed(key, value, types[key])
    if asked.get("eval_strategy", "no") != "no" and not recipe.corpora.validation:
        raise RecipeError("training.eval_strategy: there is no corpus in corpora.validation to evaluate on")
    defaults = {
        "report_to": "none",
        "prediction_loss_only": True,  # logits of a whole validation split would not fit in memory
        "disable_tqdm": not sys.stderr.isatty(),
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    try:
        return SFTConfig(**(defaults | asked | ours))
    except (TypeError, ValueError) as error:
        raise RecipeError(f"training: {' '.join(str(error).split())}") from error


def _typed(key: str, value: Any, kind: Any) -> Any:
    """A value of YAML in the type that SFTConfig declares: to YAML `1e-4` is a string, and `no` is false."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        if value is False:
            return _typed(key, "no", kind)
        raise RecipeError(f"training.{key}: {error.errors()[0]['msg']}, not {value!r}") from error


def lora_config(recipe: Recipe) -> LoraConfig:
    """Builds the adapter's configuration."""
    return LoraConfig(**recipe.method.model_dump(exclude={"kind", "trainable"}), task_type="CAUSAL_LM")
