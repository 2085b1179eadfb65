"""Write checkpoints, verify them, and check whether a run may resume from one."""

import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from escoita.errors import TrainingError
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.training.extension import FILE as EXTENSIONS
from escoita.training.extension import extension_of
from escoita.utils.files import cannot_write, sha256, sync_files, write_atomically
from escoita.utils.processes import locked, main_only, say


if TYPE_CHECKING:
    from accelerate import PartialState


class ValidationInterrupted(Exception):
    """Report inside the trainer that a signal interrupted the validation at a batch."""


class RunLockedError(TrainingError):
    """Report that another command trains the run."""

    problem = "this run is being trained by another command"
    hint = "wait for it, or train under another name"


class ProcessCountError(TrainingError):
    """
    Report that a checkpoint was written by another number of processes.

    Args:
        written_by (`int`): The number of processes that wrote the checkpoint.
        processes (`int`): The number of processes now.
    """

    written_by: int
    processes: int
    problem = "written by {written_by} processes, not {processes}"
    hint = "use {written_by} processes, or train under another name with --set name=…"


class SeveralGpusError(TrainingError):
    """
    Report that one process has several GPUs.

    Args:
        gpus (`int`): The number of GPUs.
    """

    gpus: int
    problem = "{gpus} GPUs for one process"
    hint = (
        "run torchrun --standalone --nproc_per_node {gpus} training/sft.py … to train on all of them, or set"
        " CUDA_VISIBLE_DEVICES=0 to train on one"
    )


class SeparateProcessesError(TrainingError):
    """
    Report processes that would train separately.

    Args:
        started (`int`): The number of processes that were started.
    """

    started: int
    problem = "{started} processes were started, but each would train separately"
    hint = "start them with torchrun, and leave training.use_cpu out"


class ChangedRecipeError(TrainingError):
    """
    Report that a run was trained with another value of a recipe key.

    Args:
        before (`Any`): The value in the recipe of the run.
        now (`Any`): The value in the given recipe.
    """

    before: Any
    now: Any
    problem = "changed from {before!r} to {now!r} since the run began"
    hint = "give --restart to train from the first step, or train under another name with --set name=…"


class DueValidation(TrainerCallback, ExportableState):
    """
    Record whether the validation of the last step is still due; checkpoints hold the state.

    Args:
        due (`bool`, *optional*, defaults to `False`): The step was taken, and its validation was postponed or
            interrupted.
    """

    def __init__(self, due: bool = False):
        self.due = due

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint holds."""
        return {"args": {"due": self.due}, "attributes": {}}

    def on_train_begin(self, args, state, control, **kwargs):
        """Evaluate the last step of a resumed run if that is due, and the base only in a new run."""
        if state.global_step:
            args.eval_on_start = self.due


# The file with size and digest of each file of a checkpoint, which is written last.
MANIFEST = "manifest.json"
# The folder in which a checkpoint is written before it is moved into place.
UNFINISHED = "unfinished"
# The number of checkpoints that are always kept, so that there is one before the newest.
MIN_CHECKPOINTS = 2
PREFIX = "checkpoint-"


def checkpoints_by_step(folder: Path) -> dict[int, Path]:
    """Return the checkpoints in a folder, also damaged ones, by their step, ascending."""
    found = {path.name.removeprefix(PREFIX): path for path in folder.glob(f"{PREFIX}*")}
    return {int(step): found[step] for step in sorted(filter(str.isdecimal, found), key=int)}


def finish_checkpoint(written: Path, checkpoint: Path) -> None:
    """
    Write the manifest of a checkpoint and move it into place.

    Args:
        written (`Path`): The folder that holds all files of the checkpoint.
        checkpoint (`Path`): The folder of the checkpoint, which is replaced if it exists.
    """
    sync_files(written)
    files = {
        path.relative_to(written).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(written.rglob("*"))
        if path.is_file()
    }
    write_atomically(written / MANIFEST, json.dumps({"files": files}, indent=2) + "\n")
    shutil.rmtree(checkpoint, ignore_errors=True)
    written.rename(checkpoint)


def damage(checkpoint: Path) -> str:
    """Return how a checkpoint is damaged, or an empty string if all of its files match the manifest."""
    try:
        files = json.loads((checkpoint / MANIFEST).read_bytes())["files"]
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (OSError, ValueError, TypeError, KeyError):
        return f"{MANIFEST} cannot be read"
    for name, written in files.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if (size := path.stat().st_size) != written["bytes"]:
            return f"{name} has {size:,} of {written['bytes']:,} bytes"
        if sha256(path) != written["sha256"]:
            return f"{name} differs from the manifest"
    return ""


def usable_checkpoint(run: RunDirectory, state: "PartialState") -> Path | None:
    """
    Return the newest checkpoint that is not damaged, and log the damaged ones.

    Args:
        run ([`RunDirectory`]): The run directory.
        state (`PartialState`): The processes that train together; the main one searches for all.

    Returns:
        `Path`: The checkpoint, or `None` if the run has not written any.

    Raises:
        TrainingError: All checkpoints are damaged; raised on every process.
    """
    return main_only(lambda: _newest_undamaged(run), state)


def _newest_undamaged(run: RunDirectory) -> Path | None:
    found = checkpoints_by_step(run.checkpoints)
    damaged: dict[Path, str] = {}
    for checkpoint in reversed(found.values()):
        reason = damage(checkpoint)
        if not reason:
            for path, why in damaged.items():
                say(f"Skipping a damaged checkpoint, {path}: {why}")
            return checkpoint
        damaged[checkpoint] = reason
    if damaged:
        newest, reason = next(iter(damaged.items()))
        raise TrainingError(
            f"{reason}; all {len(damaged)} checkpoints of this run are damaged",
            path=newest,
            hint="restore one, or give --restart to remove them and train from the first step",
        )
    return None


def remove_checkpoints(folder: Path, step: int, limit: int | None) -> None:
    """
    Remove older checkpoints beyond a limit, and those of later steps, which were damaged when the run resumed.

    Args:
        folder (`Path`): The folder of the checkpoints.
        step (`int`): The step of the newest checkpoint.
        limit (`int`, *optional*): The number of checkpoints that are kept, at least two; all by default.
    """
    found = checkpoints_by_step(folder)
    older = [each for each in found if each <= step]
    retained = older[-max(limit, MIN_CHECKPOINTS) :] if limit else older
    for each in found.keys() - set(retained):
        shutil.rmtree(found[each], ignore_errors=True)


def start_over(run: RunDirectory) -> None:
    """Remove the training record, the adapter, the best adapter and the checkpoints of a run."""
    run.training.unlink(missing_ok=True)
    (run.checkpoints / EXTENSIONS).unlink(missing_ok=True)
    for folder in (run.adapter, run.best, *checkpoints_by_step(run.checkpoints).values()):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def folder_written(folder: Path) -> Iterator[None]:
    """
    Turn the write error of any library into one line, and remove the unfinished folder.

    Args:
        folder (`Path`): The folder that is written.

    Raises:
        WriteError: The folder could not be written, for example because the disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors raise their own errors
        shutil.rmtree(folder, ignore_errors=True)
        advice = "Run the same command again to resume from the last checkpoint"
        raise cannot_write(folder, str(error), advice) from error


# Recipe keys that affect the trained weights.
TRAINING_KEYS = {"base", "base_revision", "dtype", "load_in_4bit", "engine", "language", "method", "prompt"}
# Fields that only affect memory and loading speed.
RESOURCE_FIELDS = {"gradient_checkpointing", "dataloader_num_workers", "per_device_eval_batch_size"}
# Fields that only affect when something is written, or which clip stops the training; error hints mention them.
INTERVALS = {"logging_steps", "save_steps", "save_total_limit", "max_length"}
# Keys that only describe a corpus.
DESCRIPTION_KEYS = {"title", "url", "license", "description", "publish_audio", "publish_references"}


class Clock(TrainerCallback, ExportableState):
    """Measure the seconds of training and count its sessions; checkpoints hold the state."""

    def __init__(self, seconds: float = 0.0, sessions: int = 0):
        self.earlier, self.sessions, self.started = seconds, sessions, time.monotonic()

    @property
    def seconds(self) -> float:
        """Return the seconds of training so far, over all sessions."""
        return self.earlier + time.monotonic() - self.started

    def on_train_begin(self, args, state, control, **kwargs):
        """Start a session."""
        self.started = time.monotonic()
        self.sessions += 1

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint holds."""
        return {"args": {"seconds": self.seconds, "sessions": self.sessions}, "attributes": {}}


class LossUpToCheckpoint(TrainerCallback):
    """
    Log the loss before each checkpoint.

    A checkpoint does not hold the loss since the last log entry, so a resumed run would not log it.
    """

    def on_step_end(self, args, state, control, **kwargs):
        """Request a log entry if a checkpoint is written."""
        control.should_log = control.should_log or control.should_save

    on_epoch_end = on_step_end


class CurrentIntervals(TrainerCallback):
    """Use the logging and saving intervals of the arguments instead of those in the checkpoint."""

    def on_train_begin(self, args, state, control, **kwargs):
        """Compute the intervals."""
        state.compute_steps(args, state.max_steps)


@contextmanager
def run_locked(run: RunDirectory, state: "PartialState") -> Iterator[None]:
    """
    Hold the lock of a run, so that one command at a time trains it; the lock of a killed process is released.

    Args:
        run ([`RunDirectory`]): The run directory; its folder of checkpoints is created and holds the lock.
        state (`PartialState`): The processes that train together.

    Raises:
        RunLockedError: Another command trains the run; raised on every process.
    """
    with locked(run.checkpoints / "lock", RunLockedError(path=run.path), state):
        yield


def refuse_other_process_count(checkpoint: Path, processes: int) -> None:
    """
    Refuse to resume with another number of processes, with which steps and epochs would hold other clips.

    Args:
        checkpoint (`Path`): The checkpoint, which holds a random state for each process.
        processes (`int`): The number of processes now.

    Raises:
        ProcessCountError: The number of processes differs.
    """
    written_by = len(list(checkpoint.glob("rng_state*")))
    if written_by != processes:
        raise ProcessCountError(path=checkpoint, written_by=written_by, processes=processes)


def refuse_separate_processes(processes: int, gpus: int = 1) -> None:
    """
    Refuse processes that were started together and would train separately, and one process with several GPUs.

    Trainer would use several GPUs with DataParallel, whose batches are larger than the recipe's by that factor.

    Args:
        processes (`int`): The number of connected processes.
        gpus (`int`, *optional*, defaults to 1): The number of GPUs of each process.

    Raises:
        SeveralGpusError: A process has several GPUs.
        SeparateProcessesError: More processes were started.
    """
    if gpus > 1:
        raise SeveralGpusError(gpus=gpus)
    started = int(os.environ.get("WORLD_SIZE", 1))
    if started != processes:
        raise SeparateProcessesError(started=started)


def refuse_other_recipe(run: RunDirectory, recipe: Recipe) -> None:
    """
    Refuse to resume a run with a recipe that changes the training, except for more steps or epochs.

    A run with neither checkpoints nor a record begins at the first step, with any recipe.

    Raises:
        ChangedRecipeError: A key that training reads differs.
    """
    if not run.recipe.exists() or not (run.training.exists() or checkpoints_by_step(run.checkpoints)):
        return
    begun = run.load_recipe()
    extension = extension_of(begun, recipe)
    validated = extension is not None or not run.training.exists()  # further steps may be evaluated
    before, now = (_flat(_read_by_training(each, validated)) for each in (begun, recipe))
    raised = {extension.key} if extension else set()
    changed = sorted(key for key in (before.keys() | now.keys()) - raised if before.get(key) != now.get(key))
    if changed:
        key = changed[0]
        raise ChangedRecipeError(path=run.path, key=key, before=before.get(key), now=now.get(key))


def _read_by_training(recipe: Recipe, validated: bool) -> dict[str, Any]:
    """Return the values of a recipe that affect the training, and those of the validation curve if it continues."""
    values = recipe.model_dump(include=TRAINING_KEYS)
    if validated:
        values |= {
            "validation.clips": recipe.validation.clips,
            "eval.normalizer": recipe.eval.normalizer,
            "eval.primary": recipe.primary,
        }
    training = {key: value for key, value in recipe.training.items() if key not in RESOURCE_FIELDS | INTERVALS}
    # The batch size may change as long as an optimizer step holds as many clips.
    sizes = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
    training[" * ".join(sizes)] = math.prod(training.pop(key, default) for key, default in sizes.items())
    values["training"] = training
    for split in ("train", "validation"):
        corpora = getattr(recipe.corpora, split)
        values[f"corpora.{split}"] = [corpus.model_dump(exclude=DESCRIPTION_KEYS) for corpus in corpora]
    return values


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings and lists by their dotted keys."""
    if not isinstance(tree, dict | list):
        return {prefix: tree}
    return {
        key: value
        for name, branch in (tree.items() if isinstance(tree, dict) else enumerate(tree))
        for key, value in _flat(branch, f"{prefix}.{name}".strip(".")).items()
    }
