"""
Take one training step on a small copy of the base, before the weights of the base are loaded.

SFTTrainer, PEFT and the model raise an exception for unsupported settings, SFTTrainer only after the base is loaded.
The trial finds such settings earlier: it uses the same trainer, the same arguments, the real processor, and a model
with the configuration of the base but two layers.
"""

import contextlib
import copy
import gc
import io
import logging
import os
import random
import re
import tempfile
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from escoita.errors import EscoitaError, RecipeError, TrainingError
from escoita.models.small_copy import small_config
from escoita.models.trainable import TrainableFamily
from escoita.recipe.schema import Modules, Recipe
from escoita.run_directory import RunDirectory
from escoita.utils.formatting import visible
from escoita.utils.processes import is_out_of_memory


if TYPE_CHECKING:
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig

# The number of rows of the step. Some errors occur only with more than one row.
ROWS = 2
# The copies of all families have fewer parameters, most of them in the embeddings of the vocabulary.
MAX_PARAMETERS = 200_000_000
# Fields that TRL enables by default, and their values to disable them.
DISABLED = {"gradient_checkpointing": False}
# Fields that the trial sets.
TRIAL_FIELDS = {"max_steps", "num_train_epochs", "save_strategy", "save_steps", "report_to"}


class TrialError(TrainingError):
    """Report a setting that SFTTrainer, PEFT or the model refuses."""


def check_by_trial(
    recipe: Recipe,
    family: TrainableFamily,
    processor: Any,
    rows: "Dataset",
    adapted: Any,
    excluded: Collection[str] = (),
) -> None:
    """
    Take one training step on a small copy of the base.

    Unsloth is not tried because it loads models itself, nor DeepSpeed, because accelerate uses the DeepSpeed settings
    of the first trainer of a process for all later ones.

    Args:
        recipe ([`Recipe`]): The recipe, with base, method and training.
        family ([`TrainableFamily`]): The family of the base.
        processor (`ProcessorMixin`): The processor of the family, which is not changed.
        rows (`Dataset`): The training rows, of which the first are used.
        adapted (`PeftModel`): The base without weights, with the adapter, from
            [`~escoita.training.backends.untrained`].
        excluded (`Collection[str]`, *optional*): The fields of the training section that are not tried.

    Raises:
        TrialError: SFTTrainer, PEFT or the model refuses; `key` is the field of the recipe that is the single cause,
            or else a section.
    """
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    if recipe.engine == "unsloth" or PartialState().distributed_type == DistributedType.DEEPSPEED:
        return
    tried = _without(recipe, excluded)
    first = rows.select(range(min(ROWS, len(rows))))
    if reason := _refusal(tried, family, processor, first, adapted):
        key, hint = _cause(reason, tried, family, processor, first, adapted)
        raise TrialError(reason, key=key, hint=hint)


def _cause(reason: str, recipe: Recipe, *others: Any) -> tuple[str, str | None]:
    """Return the field (or else the section) that makes the step fail, and a hint."""
    fields = [key for key in recipe.training if key not in TRIAL_FIELDS]
    # The fields that the reason mentions come first, because each attempt takes a step.
    for key in sorted(fields, key=lambda key: not (key in reason or str(recipe.training[key]) in reason)):
        if not _refusal(_without(recipe, [key]), *others):
            return f"training.{key}", None
    for key, value in DISABLED.items():
        if key not in fields and not _refusal(_with(recipe, {key: value}), *others):
            return f"training.{key}", f"set it to {str(value).lower()}"
    if recipe.dtype != "float32" and not _refusal(recipe.model_copy(update={"dtype": "float32"}), *others):
        return "dtype", "set it to float32"
    return "training" if fields and not _refusal(_without(recipe, fields), *others) else "method or base", None


def _without(recipe: Recipe, fields: Collection[str]) -> Recipe:
    remaining = {key: value for key, value in recipe.training.items() if key not in fields}
    return recipe.model_copy(update={"training": remaining})


def _with(recipe: Recipe, fields: dict[str, Any]) -> Recipe:
    return recipe.model_copy(update={"training": recipe.training | fields})


def _refusal(recipe: Recipe, family: TrainableFamily, processor: Any, rows: "Dataset", adapted: Any) -> str:
    """Return why the step fails, in one line, or an empty string if it succeeds."""
    with tempfile.TemporaryDirectory() as folder, _isolated():
        try:
            _take_step(recipe, family, copy.deepcopy(processor), rows, adapted, Path(folder))
        except EscoitaError as error:
            return " ".join(str(error).split())
        except Exception as error:  # of SFTTrainer, PEFT, the model, or a package that a field names
            if is_out_of_memory(error):  # the training itself reports this
                return ""
            return f"refused ({type(error).__name__}: {_line(error)})"
    return ""


def _line(error: BaseException) -> str:
    return visible(" ".join(str(error).split()))[:400] or "no reason is given"


def _take_step(
    recipe: Recipe, family: TrainableFamily, processor: Any, rows: "Dataset", adapted: Any, folder: Path
) -> None:
    from accelerate.utils import DynamoBackend
    from transformers import set_seed

    from escoita.training.backends import prepare_precision
    from escoita.training.data_collator import SpeechCollator
    from escoita.training.progress import remove_printers
    from escoita.training.trainer import SpeechTrainer

    arguments = trial_arguments(recipe, folder, len(rows))
    set_seed(0)
    config = small_config(family.read_config(recipe.base, recipe.base_revision), family.small_sizes)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in family.from_config(config).parameters())
    if size > MAX_PARAMETERS:
        raise TrainingError(f"the small copy has {size:,} parameters, too many for a trial", key="base")
    model = family.from_config(config)  # with the precision of the stored weights
    set_precision(model, recipe.dtype)
    family.adjust(model)
    family.prepare_for_training(model, processor)
    settings = family.resolved_settings(processor, recipe.generation_settings())
    trainer = SpeechTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=None if arguments.eval_strategy == "no" else rows,
        data_collator=SpeechCollator(family, processor, settings, arguments.max_length),
        processing_class=processor,
        peft_config=small_adapter(recipe, family, adapted, model),
    )
    remove_printers(trainer)
    prepare_precision(trainer.model)
    if arguments.torch_compile:  # the trainer has checked the backend; generating code takes half a minute
        trainer.accelerator.state.dynamo_plugin.backend = DynamoBackend.NO
    trainer.train()


def set_precision(model: torch.nn.Module, dtype: str) -> None:
    """
    Convert the parameters of a model as if it was loaded in this precision.

    Args:
        model (`torch.nn.Module`): The model, which is changed in place.
        dtype (`str`): The name of a torch type, or `"auto"` for no change.
    """
    if dtype != "auto":
        for parameter in model.parameters():
            parameter.data = parameter.data.to(getattr(torch, dtype))


def trial_arguments(recipe: Recipe, folder: Path, rows: int) -> "SFTConfig":
    """
    Return the training arguments of the recipe, adapted to one step on a few rows.

    Args:
        recipe ([`Recipe`]): The recipe.
        folder (`Path`): An empty folder, used as the run directory.
        rows (`int`): The number of rows.
    """
    from escoita.training.arguments import sft_config

    run = RunDirectory(folder)
    try:
        arguments = sft_config(recipe, run)
    except RecipeError:  # the check of the machine refuses the precision; this one finds other mistakes
        arguments = sft_config(_with(recipe, {"bf16": False, "fp16": False}), run)
    arguments.max_steps = 1
    arguments.per_device_train_batch_size = min(arguments.per_device_train_batch_size, rows)
    arguments.per_device_eval_batch_size = min(arguments.per_device_eval_batch_size, rows)
    arguments.save_strategy = "no"
    arguments.dataloader_drop_last = False  # several processes need more rows for a full batch
    arguments.report_to = []
    arguments.dataloader_num_workers = min(arguments.dataloader_num_workers, 1)
    return arguments


def small_adapter(recipe: Recipe, family: TrainableFamily, adapted: Any, small: torch.nn.Module) -> "LoraConfig":
    """
    Return the configuration of the adapter for the small copy, with the modules that correspond to the adapted ones.

    Args:
        recipe ([`Recipe`]): The recipe, with the method.
        family ([`TrainableFamily`]): The family of the base.
        adapted (`PeftModel`): The full base without weights, with the adapter.
        small (`torch.nn.Module`): The small copy of the base.
    """
    from peft.utils.other import ModulesToSaveWrapper

    from escoita.training.arguments import adapter_config

    config = adapter_config(recipe, family)
    if isinstance(recipe.method, Modules):
        base = adapted.get_base_model()
        names = [name for name, module in base.named_modules() if isinstance(module, ModulesToSaveWrapper)]
        config.modules_to_save = corresponding(names, small)
    else:
        config.target_modules = set(corresponding(adapted.base_model.targeted_module_names, small))
    return config


def corresponding(names: list[str], small: torch.nn.Module) -> list[str]:
    """
    Return the modules of the small copy that correspond to modules of the full base.

    They have the same name or, if there is none, a name that differs only in the layer numbers.

    Args:
        names (`list[str]`): The names of modules of the full base.
        small (`torch.nn.Module`): The small copy.
    """
    small_names = [name for name, _ in small.named_modules()]
    found = set(names) & set(small_names)
    kinds = {_kind(name) for name in names} - {_kind(name) for name in found}
    return [name for name in small_names if name in found or _kind(name) in kinds]


def _kind(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "N", name)


@contextlib.contextmanager
def _isolated() -> Iterator[None]:
    """Restore the state of this process that a training changes, and hide its output."""
    from accelerate.state import AcceleratorState, GradientState, PartialState
    from transformers.utils import logging as transformers_logging

    environment, random_state = dict(os.environ), (random.getstate(), np.random.get_state())  # noqa: NPY002 global
    deterministic = torch.are_deterministic_algorithms_enabled()
    disabled, verbosity = logging.root.manager.disable, transformers_logging.get_verbosity()
    logging.disable(logging.CRITICAL)
    gc.freeze()  # Trainer collects garbage, which takes most of the time if it visits all objects of the process
    try:
        with (
            torch.random.fork_rng(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        gc.unfreeze()
        torch.use_deterministic_algorithms(deterministic)
        logging.disable(disabled)
        transformers_logging.set_verbosity(verbosity)
        random.setstate(random_state[0])
        np.random.set_state(random_state[1])  # noqa: NPY002
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        # This state includes the precision, which may differ between trial and training. Several processes keep the
        # state because it defines how they share a model and cannot be created twice.
        if PartialState().num_processes == 1:
            AcceleratorState._reset_state()
            GradientState._reset_state()
