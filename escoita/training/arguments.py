"""Translate the recipe into the arguments of TRL and PEFT, and refuse arguments that escoita does not support."""

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_type_hints

import torch
from peft import LoraConfig
from peft.utils.constants import DUMMY_TARGET_MODULES
from pydantic import TypeAdapter, ValidationError
from transformers.utils import is_torch_bf16_gpu_available
from trl import SFTConfig

from escoita.errors import RecipeError
from escoita.recipe.advice import suggested_key
from escoita.recipe.schema import Modules, Recipe
from escoita.run_directory import RunDirectory
from escoita.training.callbacks import require_trackers
from escoita.utils.library_output import quiet_libraries
from escoita.utils.processes import PROCESS_TIMEOUT


if TYPE_CHECKING:
    from escoita.models.trainable import TrainableFamily

# Fields by which Trainer would select a checkpoint; it would ignore an evaluation at a step without a checkpoint.
SELECTION = {"load_best_model_at_end", "metric_for_best_model", "greater_is_better"}
# Fields with which an interrupted run could not resume, or two handlers would react to one signal.
UNSAFE = {
    "save_only_model": "a checkpoint without optimizer and scheduler cannot be resumed from",
    "enable_jit_checkpoint": "escoita itself writes a checkpoint on SIGTERM and SIGINT",
}
# Learning rate schedules that ignore warmup_steps, or whose warm-up does not begin at 0.
WITHOUT_WARMUP = {"constant", "reduce_lr_on_plateau", "greedy", "cosine_warmup_with_min_lr"}
# The smallest default of `per_device_eval_batch_size`.
LEAST_EVAL_BATCH = 8
# Fields that must be at least 1, which SFTConfig does not check.
COUNTS = {"per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"}


def sft_config(recipe: Recipe, run: RunDirectory) -> SFTConfig:
    """
    Return the arguments of SFTTrainer.

    Args:
        recipe ([`Recipe`]): A recipe whose `training` section holds fields of SFTConfig.
        run ([`RunDirectory`]): The run directory, which holds the checkpoints.

    Raises:
        RecipeError: A field is unknown, is set by escoita, has an invalid value or contradicts another field, or a
            package that it needs is not installed.
    """
    quiet_libraries()
    fixed: dict[str, Any] = {
        "output_dir": str(run.checkpoints),
        "remove_unused_columns": False,  # the collator needs them
        "dataset_kwargs": {"skip_prepare_dataset": True},  # TRL does not prepare audio and would train on text only
        "length_column_name": "length",
        "restore_callback_states_from_checkpoint": True,
        "logging_nan_inf_filter": False,  # the filter would log a finite loss for steps without one
        "push_to_hub": False,
    }
    known = [field.name for field in dataclasses.fields(SFTConfig) if field.init]
    requested: dict[str, Any] = {}
    for key, value in recipe.training.items():
        name = f"training.{key}"
        if key in SELECTION:
            raise RecipeError(
                "escoita itself keeps the adapter with the lowest validation rate", key=name, hint="leave it out"
            )
        if key in fixed or key.startswith("hub_"):
            raise RecipeError("this field is set by escoita", key=name, hint="leave it out")
        if key not in known:
            meant = suggested_key("training", key, known)
            hint = f"did you mean {meant!r}?" if meant else None
            raise RecipeError("SFTConfig does not have this field", key=name, hint=hint)
        if key in RENAMED:
            raise RecipeError("this name is not supported", key=name, hint=f"use training.{RENAMED[key]}")
        requested[key] = typed(key, value)
        if key in UNSUPPORTED and requested[key]:
            raise RecipeError(UNSUPPORTED[key], key=name, hint="leave it out")
        if key in UNSAFE and requested[key]:
            raise RecipeError(UNSAFE[key], key=name, hint="leave it out")
    defaults = {
        "report_to": "none",
        "run_name": recipe.name,
        "project": "escoita",
        "trackio_space_id": None,  # metrics stay on this machine unless the recipe names a Space
        "train_sampling_strategy": "group_by_length",
        "eval_strategy": "epoch" if recipe.corpora.validation else "no",
        "bf16": bf16_by_default(recipe, requested),
        "per_device_eval_batch_size": eval_batch_size(requested.get("per_device_train_batch_size", 8)),
        "ddp_timeout": int(PROCESS_TIMEOUT.total_seconds()),
        "prediction_loss_only": True,  # the logits of a validation split would not fit in memory
        # Without this, several processes on CPUs would train separately. With this, bfloat16 would not be refused.
        "use_cpu": not (torch.accelerator.is_available() or requested.get("bf16")),
        # Without a GPU the model uses all cores, and workers would compete with it.
        "dataloader_num_workers": 2 if torch.cuda.is_available() else 0,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    requested = defaults | {key: value for key, value in requested.items() if (key, value) != ("bf16", None)}
    # The validation curve begins with the base.
    requested.setdefault("eval_on_start", requested["eval_strategy"] != "no")
    _refuse_contradictions(recipe, requested)
    try:
        config = SFTConfig(**(trl_defaults() | requested | fixed))
    except Exception as error:  # also an ImportError, if a field needs a package that is not installed
        raise RecipeError(" ".join(str(error).split()), key="training") from error
    _refuse_no_steps(config)
    require_trackers(config.report_to)
    return config


def eval_batch_size(train_batch_size: int) -> int:
    """
    Return the default of `per_device_eval_batch_size`.

    A forward pass keeps nothing for a backward pass, so several clips fit if one fits in training, and a batch that
    does not fit is split. Several processes cannot split a batch, so theirs has the size of a training batch.

    Args:
        train_batch_size (`int`): The number of clips of a training batch of a process.
    """
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return train_batch_size if several else max(train_batch_size, LEAST_EVAL_BATCH)


def trl_defaults() -> dict[str, Any]:
    """
    Return the default of each field of SFTConfig.

    They are passed explicitly because Unsloth replaces SFTConfig by a class with other defaults, such as two
    accumulation steps, and a recipe must mean the same with both backends.
    """
    fields = [field for field in dataclasses.fields(SFTConfig) if field.init]
    return {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}


def bf16_by_default(recipe: Recipe, requested: dict[str, Any]) -> bool:
    """
    Return whether steps are computed in bfloat16 if the recipe does not set `bf16`.

    Args:
        recipe ([`Recipe`]): A recipe, whose `dtype` must allow bfloat16.
        requested (`dict[str, Any]`): Other arguments, which must not select float16 or the CPU.

    Returns:
        `bool`: `True` only if there is a GPU that supports bfloat16. The training record holds the precision used.
    """
    excluded = requested.get("fp16") or requested.get("use_cpu")
    return recipe.dtype in ("auto", "bfloat16") and not excluded and is_torch_bf16_gpu_available()


def _refuse_contradictions(recipe: Recipe, requested: dict[str, Any]) -> None:
    evaluated = requested["eval_strategy"] != "no"
    if evaluated and not recipe.corpora.validation:
        raise RecipeError("no corpus in corpora.validation to evaluate on", key="training.eval_strategy")
    if requested["eval_on_start"] and not evaluated:
        raise RecipeError("nothing is evaluated, because training.eval_strategy is no", key="training.eval_on_start")
    if recipe.validation.patience and not (evaluated and recipe.validation.clips):
        reason = "validation.clips is 0" if evaluated else "training.eval_strategy is no"
        raise RecipeError(f"no rate is computed during training, because {reason}", key="validation.patience")
    if requested.get("save_strategy") == "best":
        problem = "escoita keeps the best adapter next to the checkpoints"
        raise RecipeError(problem, key="training.save_strategy", hint="use one of steps, epoch, no")


def _refuse_no_steps(config: SFTConfig) -> None:
    """Refuse arguments with which no step would be taken, or no step would change a weight."""
    if not 0 < config.learning_rate < math.inf:
        problem = "expected a finite number above 0"
        raise RecipeError(problem, key="training.learning_rate", value=config.learning_rate)
    if config.max_steps == 0:
        hint = "leave it out to train for training.num_train_epochs"
        raise RecipeError("expected at least 1 step", key="training.max_steps", value=0, hint=hint)
    if config.max_steps < 0 and not 0 < config.num_train_epochs < math.inf:
        problem = "expected a finite number above 0"
        raise RecipeError(problem, key="training.num_train_epochs", value=config.num_train_epochs)
    refuse_warmup_only(config, config.max_steps)


def refuse_warmup_only(config: SFTConfig, steps: int) -> None:
    """
    Refuse a training whose only step is the first of the warm-up.

    Args:
        config (`SFTConfig`): The arguments, which define the warm-up.
        steps (`int`): The total number of optimizer steps.

    Raises:
        RecipeError: The learning rate of that step is 0.
    """
    if steps == 1 and config.get_warmup_steps(1) and config.lr_scheduler_type not in WITHOUT_WARMUP:
        raise RecipeError(
            "the only step is the first of the warm-up, whose learning rate is 0",
            key="training.warmup_steps",
            hint="set it to 0 or train more steps",
        )


def planned_steps(config: SFTConfig, clips: int, processes: int) -> int:
    """Return the number of optimizer steps of all processes together, for a number of clips per epoch."""
    if config.max_steps > 0:
        return config.max_steps
    batches = math.ceil(clips / (config.per_device_train_batch_size * processes))
    return math.ceil(config.num_train_epochs * math.ceil(batches / config.gradient_accumulation_steps))


def typed(key: str, value: Any) -> Any:
    """
    Return a YAML value in the type that SFTConfig declares: YAML reads `1e-4` as a string and `no` as false.

    Args:
        key (`str`): A field of SFTConfig.
        value (`Any`): The value from YAML.

    Raises:
        RecipeError: The value has another type, or is a count below 1.
    """
    kind = get_type_hints(SFTConfig)[key]
    try:
        found = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        if value is False:
            return typed(key, "no")
        raise RecipeError(error.errors()[0]["msg"], key=f"training.{key}", value=value) from error
    if key in COUNTS and found < 1:
        raise RecipeError("expected at least 1", key=f"training.{key}", value=value)
    return found


def peft_config(recipe: Recipe, task_type: str | None = "CAUSAL_LM", saved_modules: Sequence[str] = ()) -> LoraConfig:
    """
    Return the configuration of the adapter.

    Fully trained modules are an adapter too, which holds copies instead of low-rank matrices, so that PEFT saves,
    loads, disables and merges them.

    Args:
        recipe ([`Recipe`]): The recipe, with the method.
        task_type (`str`, *optional*, defaults to `"CAUSAL_LM"`): The task type of the family; see
            [`~escoita.models.trainable.TrainableFamily`].
        saved_modules (`Sequence[str]`, *optional*): Further modules that are trained and saved whole.
    """
    if isinstance(recipe.method, Modules):
        return LoraConfig(
            target_modules=DUMMY_TARGET_MODULES,
            modules_to_save=list(dict.fromkeys([*recipe.method.modules, *saved_modules])),
            task_type=task_type,
        )
    settings = recipe.method.model_dump(exclude={"kind", "trainable", "language_token", "target_lang"})
    return LoraConfig(**settings, modules_to_save=list(saved_modules) or None, task_type=task_type)


def adapter_config(recipe: Recipe, family: "TrainableFamily") -> LoraConfig:
    """
    Return the configuration of the adapter of a recipe on a base of a family; see [`peft_config`].

    Args:
        recipe ([`Recipe`]): The recipe, with the method.
        family ([`~escoita.models.trainable.TrainableFamily`]): The family of the base.
    """
    modules = recipe.method.modules if isinstance(recipe.method, Modules) else ()
    return peft_config(recipe, family.task_type, family.info.whole_modules(modules))


# TRL applies these to rows of text. A row here is a clip, and the model family makes its prompt.
UNSUPPORTED = {
    "packing": "clips cannot be joined into blocks of a fixed length; train_sampling_strategy groups them by length",
    "padding_free": "the clips of a batch are padded; train_sampling_strategy groups them by length",
    "assistant_only_loss": "the loss already covers only the transcript and the end of its turn",
    "chat_template_path": "the chat template of the base renders the prompt, in training and inference",
    "eos_token": "the transcript ends with the end-of-turn token of the base, in training and inference",
}
# Newer names in Transformers of fields that are read under the name that TRL uses.
RENAMED = {
    "activation_checkpointing": "gradient_checkpointing",
    "activation_checkpointing_kwargs": "gradient_checkpointing_kwargs",
}
_NOT_PREPARED = "TRL does not prepare the rows"
_NOT_A_SCRIPT = "escoita train always trains, and evaluates according to eval_strategy"
NO_EFFECT = {
    "completion_only_loss": "the loss covers only the transcript and the end of its turn",
    "dataset_num_proc": _NOT_PREPARED,
    "dataset_text_field": _NOT_PREPARED,
    "disable_tqdm": "escoita shows the progress in place of Trainer's bars",
    "do_eval": _NOT_A_SCRIPT,
    "do_predict": _NOT_A_SCRIPT,
    "do_train": _NOT_A_SCRIPT,
    "eval_packing": _NOT_PREPARED,
    "local_rank": "the launcher of the processes sets it",
    "model_init_kwargs": "base, base_revision, dtype and load_in_4bit define how the base is loaded",
    "packing_strategy": _NOT_PREPARED,
    "pad_to_multiple_of": "a batch is padded to its longest row",
    "pad_token": "the processor of the base names it",
    "prediction_loss_only": "an evaluation batch yields only its loss; validation.clips are transcribed separately",
    "resume_from_checkpoint": "a run resumes from its last checkpoint; --restart trains from the first step",
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
        recipe ([`Recipe`]): A recipe.
    """
    for field, value in recipe.training.items():
        if field in NO_EFFECT and value is not None:
            yield f"training.{field}: has no effect, because {NO_EFFECT[field]}"
        elif field in ONLY_WITH:
            other, prefixes = ONLY_WITH[field]
            if not any(_has_prefix(each, prefixes) for each in _as_list(recipe.training.get(other))):
                required = f" {' or '.join(map(str, prefixes))}" if prefixes else ""
                yield f"training.{field}: has no effect without training.{other}{required}"


def _has_prefix(value: Any, prefixes: tuple[Any, ...]) -> bool:
    if not prefixes:
        return bool(value)
    return any(value is each or (isinstance(each, str) and str(value).startswith(each)) for each in prefixes)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
