"""
One step of training on a small copy of the base, before the weights of the base are loaded.

SFTTrainer, PEFT and the model refuse what they cannot do with an exception, and SFTTrainer does so once the base is in
memory. The trial lets them do so at once: the same trainer, the same arguments, the real processor, and a model of two
layers that has the configuration of the base otherwise.
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
from escoita.models.chat import ChatFamily
from escoita.models.small_copy import small_config
from escoita.recipe.schema import Modules, Recipe
from escoita.run_directory import RunDirectory
from escoita.utils.formatting import visible
from escoita.utils.processes import is_out_of_memory


if TYPE_CHECKING:
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig

# Rows of the step. Two show what a batch of one does not.
ROWS = 2
# The copies of all families have fewer parameters, most of them in the embeddings of the vocabulary.
MOST_PARAMETERS = 200_000_000
# What TRL turns on if a recipe says nothing.
OFF = {"gradient_checkpointing": False}
# The trial sets these itself.
OF_THE_TRIAL = {"max_steps", "num_train_epochs", "save_strategy", "save_steps", "report_to"}


def check_by_trial(
    recipe: Recipe, family: ChatFamily, processor: Any, rows: "Dataset", adapted: Any, left_out: Collection[str] = ()
) -> None:
    """
    Take one training step on a small copy of the base.

    Not tried are Unsloth, which loads models in its own way, and DeepSpeed, whose settings accelerate keeps from the
    first trainer of a process for all later ones.

    Args:
        recipe ([`Recipe`]): Base, method and training.
        family ([`ChatFamily`]): Of the base.
        processor: The family's processor; stays as it is.
        rows (`Dataset`): Of the training corpora; the first ones are trained on.
        adapted (`PeftModel`): The base without weights, with the adapter; see [`~escoita.training.sft.untrained`].
        left_out (`Collection[str]`, *optional*): Fields of the training section that are not tried.

    Raises:
        TrainingError: SFTTrainer, PEFT or the model refuses; names the field of the recipe, if one alone is the cause,
            and the reason.
    """
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    if recipe.engine == "unsloth" or PartialState().distributed_type == DistributedType.DEEPSPEED:
        return
    tried = _without(recipe, left_out)
    few = rows.select(range(min(ROWS, len(rows))))
    if reason := _refusal(tried, family, processor, few, adapted):
        raise TrainingError(f"{_cause(reason, tried, family, processor, few, adapted)}: {reason}")


def _cause(reason: str, recipe: Recipe, *others: Any) -> str:
    """The field without which the step succeeds, or the section that is at fault."""
    fields = [key for key in recipe.training if key not in OF_THE_TRIAL]
    # The fields that the reason mentions come first, because each attempt takes a step.
    for key in sorted(fields, key=lambda key: not (key in reason or str(recipe.training[key]) in reason)):
        if not _refusal(_without(recipe, [key]), *others):
            return f"training.{key}"
    for key, value in OFF.items():
        if key not in fields and not _refusal(_with(recipe, {key: value}), *others):
            return f"training.{key} (set it to {str(value).lower()})"
    return "training" if fields and not _refusal(_without(recipe, fields), *others) else "method or base"


def _without(recipe: Recipe, fields: Collection[str]) -> Recipe:
    kept = {key: value for key, value in recipe.training.items() if key not in fields}
    return recipe.model_copy(update={"training": kept})


def _with(recipe: Recipe, fields: dict[str, Any]) -> Recipe:
    return recipe.model_copy(update={"training": recipe.training | fields})


def _refusal(recipe: Recipe, family: ChatFamily, processor: Any, rows: "Dataset", adapted: Any) -> str:
    """Why the step fails, in one line; empty if it succeeds."""
    with tempfile.TemporaryDirectory() as folder, _alone():
        try:
            _take_step(recipe, family, copy.deepcopy(processor), rows, adapted, Path(folder))
        except EscoitaError as error:
            return " ".join(str(error).split())
        except Exception as error:  # of SFTTrainer, PEFT, the model, or a package that a field names
            if is_out_of_memory(error):  # the training itself says what to do then
                return ""
            return f"refused ({type(error).__name__}: {_line(error)})"
    return ""


def _line(error: BaseException) -> str:
    return visible(" ".join(str(error).split()))[:400] or "no reason is given"


def _take_step(
    recipe: Recipe, family: ChatFamily, processor: Any, rows: "Dataset", adapted: Any, folder: Path
) -> None:
    from accelerate.utils import DynamoBackend
    from transformers import PrinterCallback, ProgressCallback, set_seed

    from escoita.training.backends import prepare_precision
    from escoita.training.data_collator import SpeechCollator
    from escoita.training.trainer import SpeechTrainer

    arguments = trial_arguments(recipe, folder, len(rows))
    set_seed(0)
    config = small_config(family.read_config(recipe.base, recipe.base_revision), family.small_sizes)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in family.from_config(config).parameters())
    if size > MOST_PARAMETERS:
        raise TrainingError(f"model {recipe.base}: its small copy has {size:,} parameters, too many for a trial")
    model = family.from_config(config)
    family.adjust(model)
    trainer = SpeechTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=None if arguments.eval_strategy == "no" else rows,
        data_collator=SpeechCollator(family, processor, recipe.prompt, arguments.max_length),
        processing_class=processor,
        peft_config=small_adapter(recipe, adapted, model),
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    prepare_precision(trainer.model)
    if arguments.torch_compile:  # the trainer has accepted the backend; to generate code takes half a minute
        trainer.accelerator.state.dynamo_plugin.backend = DynamoBackend.NO
    trainer.train()


def trial_arguments(recipe: Recipe, folder: Path, rows: int) -> "SFTConfig":
    """
    Build the arguments of the recipe, changed in what does not fit one step on a few rows.

    Args:
        recipe ([`Recipe`]): Its `training` section.
        folder (`Path`): An empty one, in place of the run directory.
        rows (`int`): Number of rows.
    """
    from escoita.training.arguments import sft_config

    run = RunDirectory(folder)
    try:
        arguments = sft_config(recipe, run)
    except RecipeError:  # the check of the machine refuses the precision, and this is to find the rest
        arguments = sft_config(_with(recipe, {"bf16": False, "fp16": False}), run)
    arguments.max_steps = 1
    arguments.per_device_train_batch_size = min(arguments.per_device_train_batch_size, rows)
    arguments.per_device_eval_batch_size = min(arguments.per_device_eval_batch_size, rows)
    arguments.save_strategy = "no"
    arguments.dataloader_drop_last = False  # several processes need more rows for a whole batch
    arguments.report_to = []
    arguments.disable_tqdm = True
    arguments.dataloader_num_workers = min(arguments.dataloader_num_workers, 1)
    return arguments


def small_adapter(recipe: Recipe, adapted: Any, small: torch.nn.Module) -> "LoraConfig":
    """
    Return the adapter's configuration for the small copy: of its modules those that correspond to the adapted ones.

    Args:
        recipe ([`Recipe`]): Its method.
        adapted (`PeftModel`): The whole base without weights, with the adapter.
        small (`torch.nn.Module`): The small copy of the base.
    """
    from peft.utils.other import ModulesToSaveWrapper

    from escoita.training.arguments import peft_config

    config = peft_config(recipe)
    if isinstance(recipe.method, Modules):
        base = adapted.get_base_model()
        whole = [name for name, module in base.named_modules() if isinstance(module, ModulesToSaveWrapper)]
        config.modules_to_save = corresponding(whole, small)
    else:
        config.target_modules = set(corresponding(adapted.base_model.targeted_module_names, small))
    return config


def corresponding(names: list[str], small: torch.nn.Module) -> list[str]:
    """
    Return the modules of the small copy that stand for modules of the whole base.

    A module of the same name does so; if there is none, all that differ in the numbers of layers alone.

    Args:
        names (`list[str]`): Of modules of the whole base.
        small (`torch.nn.Module`): The small copy.
    """
    there = [name for name, _ in small.named_modules()]
    found = set(names) & set(there)
    kinds = {_kind(name) for name in names} - {_kind(name) for name in found}
    return [name for name in there if name in found or _kind(name) in kinds]


def _kind(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "N", name)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Restore what a training changes in this process, and hide what it writes to the terminal."""
    from accelerate.state import AcceleratorState, GradientState, PartialState
    from transformers.utils import logging as transformers_logging

    environment, random_state = dict(os.environ), (random.getstate(), np.random.get_state())  # noqa: NPY002 theirs
    deterministic = torch.are_deterministic_algorithms_enabled()
    disabled, verbosity = logging.root.manager.disable, transformers_logging.get_verbosity()
    logging.disable(logging.CRITICAL)
    gc.freeze()  # Trainer collects garbage, which takes most of the time if it looks at all objects of the process
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
        # The precision is part of this state, and the training may have another one than the trial. Several processes
        # keep the state, because it says how they share a model and cannot be created twice.
        if PartialState().num_processes == 1:
            AcceleratorState._reset_state()
            GradientState._reset_state()
