"""Translate the recipe into the arguments of TRL and PEFT, and refuse those that have no place here."""

import dataclasses
import math
import sys
from collections.abc import Iterator
from typing import Any, get_type_hints

import torch
from peft import LoraConfig
from peft.utils.constants import DUMMY_TARGET_MODULES
from pydantic import TypeAdapter, ValidationError
from transformers.utils import is_torch_bf16_gpu_available
from trl import SFTConfig

from escoita.errors import RecipeError
from escoita.recipe.errors import nearest
from escoita.recipe.schema import Modules, Recipe
from escoita.run_directory import RunDirectory
from escoita.training.callbacks import require_trackers


# By which the Trainer would choose among checkpoints; an evaluation that no checkpoint falls on would be passed over.
CHOICE = {"load_best_model_at_end", "metric_for_best_model", "greater_is_better"}
# With these a run that was interrupted could not resume, or would be stopped in two ways at once.
UNSAFE = {
    "save_only_model": "a checkpoint without optimizer and scheduler cannot be resumed from",
    "enable_jit_checkpoint": "escoita writes a checkpoint on SIGTERM and SIGINT itself",
}
# Schedules of the learning rate that pass over warmup_steps, or whose warm-up does not begin at 0.
WITHOUT_WARMUP = {"constant", "reduce_lr_on_plateau", "greedy", "cosine_warmup_with_min_lr"}
# SFTConfig takes any number of these.
COUNTS = {"per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"}


def sft_config(recipe: Recipe, run: RunDirectory) -> SFTConfig:
    """
    Builds the arguments of SFTTrainer.

    Args:
        recipe ([`Recipe`]): Its `training` section holds fields of SFTConfig under their own names.
        run ([`RunDirectory`]): Where the checkpoints go.

    Raises:
        RecipeError: A field is unknown, is not a recipe's to set, has an impossible value or contradicts another, or
            what it reports to, or another package that it needs, is not installed.
    """
    ours: dict[str, Any] = {
        "output_dir": str(run.checkpoints),
        "remove_unused_columns": False,  # the collator needs them
        "dataset_kwargs": {"skip_prepare_dataset": True},  # TRL has no audio path and would train on text alone
        "length_column_name": "length",
        "restore_callback_states_from_checkpoint": True,
        "logging_nan_inf_filter": False,  # it would log a finite loss for steps without one
        "push_to_hub": False,
    }
    known = [field.name for field in dataclasses.fields(SFTConfig) if field.init]
    asked: dict[str, Any] = {}
    for key, value in recipe.training.items():
        if key in CHOICE:
            raise RecipeError(f"training.{key}: escoita keeps the adapter of the lowest WER itself; leave it out")
        if key in ours or key.startswith("hub_"):
            raise RecipeError(f"training.{key}: is set by escoita; leave it out")
        if key not in known:
            raise RecipeError(f"training.{key}: SFTConfig has no such field{nearest(key, known)}")
        if key in RENAMED:
            raise RecipeError(f"training.{key}: write training.{RENAMED[key]}, which is the same")
        asked[key] = typed(key, value)
        if key in UNSUPPORTED and asked[key]:
            raise RecipeError(f"training.{key}: {UNSUPPORTED[key]}; leave it out")
        if key in UNSAFE and asked[key]:
            raise RecipeError(f"training.{key}: {UNSAFE[key]}; leave it out")
    defaults = {
        "report_to": "none",
        "run_name": recipe.name,
        "project": "escoita",
        "trackio_space_id": None,  # tracked here, and nowhere else unless asked for
        "train_sampling_strategy": "group_by_length",
        "eval_strategy": "epoch" if recipe.corpora.validation else "no",
        "bf16": bf16_by_default(recipe, asked),
        "per_device_eval_batch_size": asked.get("per_device_train_batch_size", 8),  # what fits there, fits here
        "prediction_loss_only": True,  # logits of a whole validation split would not fit in memory
        "disable_tqdm": not sys.stderr.isatty(),
        # Unless told, several processes on CPUs train each alone. With it bfloat16 would not be refused there.
        "use_cpu": not (torch.accelerator.is_available() or asked.get("bf16")),
        # Without a GPU the model computes on all cores, and a worker would only take them from it.
        "dataloader_num_workers": 2 if torch.cuda.is_available() else 0,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    asked = defaults | {key: value for key, value in asked.items() if (key, value) != ("bf16", None)}
    # What the base hears is where the curve begins.
    asked.setdefault("eval_on_start", asked["eval_strategy"] != "no")
    _refuse_contradictions(recipe, asked)
    try:
        config = SFTConfig(**(trl_defaults() | asked | ours))
    except Exception as error:  # also of a package that a field needs and that is not installed
        raise RecipeError(f"training: {' '.join(str(error).split())}") from error
    _refuse_no_steps(config)
    require_trackers(config.report_to)
    return config


def trl_defaults() -> dict[str, Any]:
    """
    What TRL takes where a recipe says nothing, to be said outright: Unsloth puts an SFTConfig with defaults of its own
    in the place of TRL's, two steps of accumulation among them, and a recipe is to mean the same with both.
    """
    fields = [field for field in dataclasses.fields(SFTConfig) if field.init]
    return {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}


def bf16_by_default(recipe: Recipe, asked: dict[str, Any]) -> bool:
    """
    Whether steps are computed in bfloat16 where the recipe does not say.

    Args:
        recipe ([`Recipe`]): Not where its `dtype` is another.
        asked (`dict[str, Any]`): Its other arguments; not where they ask for float16, or for the CPU.

    Returns:
        `bool`: Also only where there is a GPU that can. The record of training says what it came to.
    """
    elsewhere = asked.get("fp16") or asked.get("use_cpu")
    return recipe.dtype in ("auto", "bfloat16") and not elsewhere and is_torch_bf16_gpu_available()


def _refuse_contradictions(recipe: Recipe, asked: dict[str, Any]) -> None:
    heard = asked["eval_strategy"] != "no"
    if heard and not recipe.corpora.validation:
        raise RecipeError("training.eval_strategy: there is no corpus in corpora.validation to evaluate on")
    if asked["eval_on_start"] and not heard:
        raise RecipeError("training.eval_on_start: nothing is evaluated, as training.eval_strategy is no")
    if recipe.validation.patience and not (heard and recipe.validation.clips):
        missing = "validation.clips is 0" if heard else "training.eval_strategy is no"
        raise RecipeError(f"validation.patience: nothing is heard while training, as {missing}")
    if asked.get("save_strategy") == "best":
        raise RecipeError(
            "training.save_strategy: the best adapter is kept beside the checkpoints; write steps, epoch or no"
        )


def _refuse_no_steps(config: SFTConfig) -> None:
    """Refuses arguments with which no step would be taken, or none would change a weight."""
    if not 0 < config.learning_rate < math.inf:
        raise RecipeError(f"training.learning_rate: {config.learning_rate} trains nothing; it must be above 0")
    if config.max_steps == 0:
        raise RecipeError("training.max_steps: 0 trains nothing; leave it out, and num_train_epochs counts")
    if config.max_steps < 0 and not 0 < config.num_train_epochs < math.inf:
        raise RecipeError(f"training.num_train_epochs: {config.num_train_epochs} trains nothing; it must be above 0")
    refuse_warmup_alone(config, config.max_steps)


def refuse_warmup_alone(config: SFTConfig, steps: int) -> None:
    """
    Refuses a training whose only step is the first of the warm-up.

    Args:
        config (`SFTConfig`): Says how long the warm-up is.
        steps (`int`): Optimizer steps in all.

    Raises:
        RecipeError: The learning rate of that step is 0.
    """
    if steps == 1 and config.get_warmup_steps(1) and config.lr_scheduler_type not in WITHOUT_WARMUP:
        raise RecipeError(
            "training.warmup_steps: the only step would be the first of the warm-up, whose learning rate is 0; set it"
            " to 0, or take more steps"
        )


def planned_steps(config: SFTConfig, clips: int, processes: int) -> int:
    """Optimizer steps of a training on so many clips in an epoch, by all processes together."""
    if config.max_steps > 0:
        return config.max_steps
    batches = math.ceil(clips / (config.per_device_train_batch_size * processes))
    return math.ceil(config.num_train_epochs * math.ceil(batches / config.gradient_accumulation_steps))


def typed(key: str, value: Any) -> Any:
    """
    A value of YAML in the type that SFTConfig declares: to YAML `1e-4` is a string, and `no` is false.

    Args:
        key (`str`): A field of SFTConfig.
        value: As YAML has it.

    Raises:
        RecipeError: It is of another type, or no such count can be.
    """
    kind = get_type_hints(SFTConfig)[key]
    try:
        found = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        if value is False:
            return typed(key, "no")
        raise RecipeError(f"training.{key}: {error.errors()[0]['msg']}, not {value!r}") from error
    if key in COUNTS and found < 1:
        raise RecipeError(f"training.{key}: must be at least 1, not {value!r}")
    return found


def peft_config(recipe: Recipe) -> LoraConfig:
    """
    Builds the adapter's configuration.

    Modules that are trained whole are an adapter too, of copies in place of low-rank matrices, so that plain PEFT
    saves, loads, switches off and merges them.
    """
    if isinstance(recipe.method, Modules):
        return LoraConfig(
            target_modules=DUMMY_TARGET_MODULES, modules_to_save=recipe.method.modules, task_type="CAUSAL_LM"
        )
    return LoraConfig(**recipe.method.model_dump(exclude={"kind", "trainable"}), task_type="CAUSAL_LM")


# TRL would do these to rows of text. A row here is a clip, and its prompt is made by the family of the base.
UNSUPPORTED = {
    "packing": "clips cannot be joined into blocks of a fixed length; train_sampling_strategy groups them by length",
    "padding_free": "the clips of a batch are padded; train_sampling_strategy groups them by length",
    "assistant_only_loss": "the loss is on the transcript and the end of its turn alone already",
    "chat_template_path": "the prompt is rendered by the chat template of the base, at training and afterwards",
    "eos_token": "the transcript ends with the end of a turn that the base knows, at training and afterwards",
}
# Newer names of Transformers for fields that are looked at, in several places, by the name that TRL has for them.
RENAMED = {
    "activation_checkpointing": "gradient_checkpointing",
    "activation_checkpointing_kwargs": "gradient_checkpointing_kwargs",
}
_NOT_PREPARED = "TRL does not prepare the rows"
_NOT_A_SCRIPT = "escoita train always trains, and evaluates as eval_strategy says"
NO_EFFECT = {
    "completion_only_loss": "the loss is on the transcript and the end of its turn alone",
    "dataset_num_proc": _NOT_PREPARED,
    "dataset_text_field": _NOT_PREPARED,
    "do_eval": _NOT_A_SCRIPT,
    "do_predict": _NOT_A_SCRIPT,
    "do_train": _NOT_A_SCRIPT,
    "eval_packing": _NOT_PREPARED,
    "local_rank": "the launcher of the processes sets it",
    "model_init_kwargs": "base, base_revision, dtype and load_in_4bit say how the base is loaded",
    "packing_strategy": _NOT_PREPARED,
    "pad_to_multiple_of": "a batch is padded to its longest row",
    "pad_token": "the processor of the base names it",
    "prediction_loss_only": "the evaluation of a batch yields its loss alone; validation.clips are transcribed apart",
    "resume_from_checkpoint": "the last checkpoint of the run is resumed from; --restart trains from the first step",
    "shuffle_dataset": "train_sampling_strategy orders the rows",
    "truncation_mode": "no row is truncated; one over max_length stops the training",
    "trust_remote_code": "code of a repository is never run",
}
# Fields that have an effect only together with another field: the other field, and the prefixes of its values.
ONLY_WITH: dict[str, tuple[str, tuple[Any, ...]]] = {
    "liger_kernel_config": ("use_liger_kernel", (True,)),
    "optim_target_modules": ("optim", ("galore", "apollo")),
    "project": ("report_to", ("trackio",)),
    "trackio_bucket_id": ("report_to", ("trackio",)),
    "trackio_space_id": ("report_to", ("trackio",)),
    "trackio_static_space_id": ("report_to", ("trackio",)),
    "fsdp_config": ("fsdp", ()),
}


def without_effect(recipe: Recipe) -> Iterator[str]:
    """
    Yield a line for each field that the recipe sets and that changes nothing.

    Args:
        recipe ([`Recipe`]): Its `training` section.
    """
    for field, value in recipe.training.items():
        if field in NO_EFFECT and value is not None:
            yield f"training.{field}: has no effect, because {NO_EFFECT[field]}"
        elif field in ONLY_WITH:
            other, beginnings = ONLY_WITH[field]
            if not any(_begins(each, beginnings) for each in _listed(recipe.training.get(other))):
                wanted = f" {' or '.join(map(str, beginnings))}" if beginnings else ""
                yield f"training.{field}: has no effect without training.{other}{wanted}"


def _begins(value: Any, beginnings: tuple[Any, ...]) -> bool:
    if not beginnings:
        return bool(value)
    return any(value is each or (isinstance(each, str) and str(value).startswith(each)) for each in beginnings)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
