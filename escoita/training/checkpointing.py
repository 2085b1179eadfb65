"""Write checkpoints, verify them, and decide who may resume from one."""

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
from escoita.utils.files import cannot_write, sha256, sync_files, write_atomically
from escoita.utils.processes import locked, main_only, say


if TYPE_CHECKING:
    from accelerate import PartialState


class ValidationInterrupted(Exception):
    """The validation stops at the next batch, as the training was asked to stop; it never leaves the trainer."""


class DueValidation(TrainerCallback, ExportableState):
    """
    Knows whether the validation of the last step is still to be done; travels inside the checkpoints.

    Args:
        due (`bool`, *optional*, defaults to `False`): The step was taken, and its validation was put off or cut short.
    """

    def __init__(self, due: bool = False):
        self.due = due

    def state(self) -> dict[str, Any]:
        """As it is written into a checkpoint."""
        return {"args": {"due": self.due}, "attributes": {}}

    def on_train_begin(self, args, state, control, **kwargs):
        """A run that resumes does not evaluate the base again; it evaluates the last step if that is due."""
        if state.global_step:
            args.eval_on_start = self.due


# Size and digest of each file of a checkpoint; written last.
MANIFEST = "manifest.json"
# The folder in which a checkpoint is written before it is moved into place.
UNFINISHED = "unfinished"
# So many checkpoints stay at least, so that there is one before the newest.
FEWEST = 2
PREFIX = "checkpoint-"


def checkpoints_by_step(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder, whole or damaged, by their step, ascending."""
    found = {path.name.removeprefix(PREFIX): path for path in folder.glob(f"{PREFIX}*")}
    return {int(step): found[step] for step in sorted(filter(str.isdecimal, found), key=int)}


def finish_checkpoint(written: Path, checkpoint: Path) -> None:
    """
    Write the manifest of a checkpoint and move it into place.

    Args:
        written (`Path`): The folder that holds all files of the checkpoint.
        checkpoint (`Path`): Its place; what is there is replaced.
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
    """What is wrong with a checkpoint, in a few words; empty if all of its files are as they were written."""
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
            return f"{name} is not what was written"
    return ""


def usable_checkpoint(run: RunDirectory, state: "PartialState") -> Path | None:
    """
    Find the newest checkpoint that is not damaged, and say which ones are skipped.

    Args:
        run ([`RunDirectory`]): Holds the checkpoints.
        state (`PartialState`): The processes that train together; the main one looks for all.

    Returns:
        `Path`: The checkpoint; none if the run has not written any.

    Raises:
        TrainingError: There are checkpoints, and all are damaged; on every process.
    """
    return main_only(lambda: _newest_whole(run), state)


def _newest_whole(run: RunDirectory) -> Path | None:
    found = checkpoints_by_step(run.checkpoints)
    skipped: list[str] = []
    for checkpoint in reversed(found.values()):
        reason = damage(checkpoint)
        if not reason:
            for line in skipped:
                say(f"Skipping a damaged checkpoint, {line}")
            return checkpoint
        skipped.append(f"{checkpoint}: {reason}")
    if skipped:
        raise TrainingError(
            f"{skipped[0]}; none of the {len(skipped)} checkpoints of this run can be used. Restore one, or give"
            " --restart to remove them and train from the first step"
        )
    return None


def remove_checkpoints(folder: Path, step: int, limit: int | None) -> None:
    """
    Remove older checkpoints beyond a limit, and those of later steps, which were damaged when the run resumed.

    Args:
        folder (`Path`): Holds the checkpoints.
        step (`int`): Of the checkpoint that was just written.
        limit (`int`, *optional*): How many stay, but at least two; all of them unless given.
    """
    found = checkpoints_by_step(folder)
    older = [each for each in found if each <= step]
    kept = older[-max(limit, FEWEST) :] if limit else older
    for each in found.keys() - set(kept):
        shutil.rmtree(found[each], ignore_errors=True)


def start_over(run: RunDirectory) -> None:
    """Remove what training wrote into a run directory: record, adapter, best adapter and checkpoints."""
    run.training.unlink(missing_ok=True)
    for folder in (run.adapter, run.best, *checkpoints_by_step(run.checkpoints).values()):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def written_whole(folder: Path) -> Iterator[None]:
    """
    Says in one line that a folder cannot be written, whichever library writes it; what was begun makes room again.

    Args:
        folder (`Path`): What is written.

    Raises:
        WriteError: The disk is full, or the like.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have errors of their own
        shutil.rmtree(folder, ignore_errors=True)
        advice = "Run the same command again to resume from the last checkpoint"
        raise cannot_write(folder, str(error), advice) from error


# What of a recipe decides what the weights become.
READ = {"base", "base_revision", "dtype", "load_in_4bit", "engine", "language", "method", "prompt"}
# What only changes how much is in memory at once, and how soon clips are there.
UNHEARD = {"gradient_checkpointing", "dataloader_num_workers", "per_device_eval_batch_size"}
# What only says when something is written, or at which clip training stops; errors advise to change it.
INTERVALS = {"logging_steps", "save_steps", "save_total_limit", "max_length"}
# What is only said of a corpus, and does not change what is heard.
TOLD = {"title", "url", "license", "description", "publish_audio", "publish_references"}


class Clock(TrainerCallback, ExportableState):
    """Seconds of training and count of sessions; travels inside the checkpoints."""

    def __init__(self, seconds: float = 0.0, sessions: int = 0):
        self.earlier, self.sessions, self.started = seconds, sessions, time.monotonic()

    @property
    def seconds(self) -> float:
        return self.earlier + time.monotonic() - self.started

    def on_train_begin(self, args, state, control, **kwargs):
        self.started = time.monotonic()
        self.sessions += 1

    def state(self) -> dict[str, Any]:
        return {"args": {"seconds": self.seconds, "sessions": self.sessions}, "attributes": {}}


class LossUpToCheckpoint(TrainerCallback):
    """
    Logs before each checkpoint.

    The loss since the entry before is not in a checkpoint: of steps after which nothing was logged, a run that goes on
    would not know it.
    """

    def on_step_end(self, args, state, control, **kwargs):
        control.should_log = control.should_log or control.should_save

    on_epoch_end = on_step_end


class CurrentIntervals(TrainerCallback):
    """Takes the intervals of logging and saving from the arguments, where a checkpoint holds those of its recipe."""

    def on_train_begin(self, args, state, control, **kwargs):
        state.compute_steps(args, state.max_steps)


@contextmanager
def only_one(run: RunDirectory, state: "PartialState") -> Iterator[None]:
    """
    Keeps a run to one training at a time; what is killed keeps nothing.

    Args:
        run ([`RunDirectory`]): Its folder of checkpoints is made, and holds the lock.
        state (`PartialState`): The processes that train together.

    Raises:
        TrainingError: Another command trains it now; on every process.
    """
    refusal = TrainingError(f"{run.path}: is being trained by another command; wait, or train under another name")
    with locked(run.checkpoints / "lock", refusal, state):
        yield


def refuse_other_processes(checkpoint: Path, processes: int) -> None:
    """
    Refuses to go on with another number of processes, with which a step and an epoch would hold other clips.

    Args:
        checkpoint (`Path`): Holds the random numbers of each process that trained.
        processes (`int`): That train now.

    Raises:
        TrainingError: They were fewer or more.
    """
    before = len(list(checkpoint.glob("rng_state*")))
    if before != processes:
        raise TrainingError(
            f"{checkpoint}: was written by {before} processes, not {processes}; give the command with as many, or"
            " train under another name with --set name=…"
        )


def refuse_strangers(processes: int, gpus: int = 1) -> None:
    """
    Refuses processes that were started together and do not know of one another: each would train alone, in one folder.
    And one process with several GPUs, which Trainer would share out as DataParallel does, with batches so many times
    as large as the recipe says.

    Args:
        processes (`int`): That train together, as far as they know.
        gpus (`int`, *optional*, defaults to 1): That each of them would train on.

    Raises:
        TrainingError: More were started, or one has several GPUs.
    """
    if gpus > 1:
        raise TrainingError(
            f"there are {gpus} GPUs for one process: torchrun --standalone --nproc_per_node {gpus} training/sft.py …"
            " trains on all of them, CUDA_VISIBLE_DEVICES=0 on one"
        )
    started = int(os.environ.get("WORLD_SIZE", 1))
    if started != processes:
        raise TrainingError(
            f"{started} processes were started, but each would train alone; start them with torchrun, and leave"
            " training.use_cpu out"
        )


def refuse_other_recipe(run: RunDirectory, recipe: Recipe) -> None:
    """
    Refuses to continue a run with another recipe than it began with; what training does not read may change.

    A run that has written neither a checkpoint nor its record begins at the first step, with whatever recipe.

    Raises:
        TrainingError: Names a key that differs.
    """
    if not run.recipe.exists() or not (run.training.exists() or checkpoints_by_step(run.checkpoints)):
        return
    finished = run.training.exists()
    before, now = (_flat(_read_by_training(each, finished)) for each in (run.load_recipe(), recipe))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        raise TrainingError(
            f"{run.path} holds a run of another recipe ({changed[0]} was {before.get(changed[0])!r}, is"
            f" {now.get(changed[0])!r}); give --restart to train it from the first step, or train under another name"
            " with --set name=…"
        )


def _read_by_training(recipe: Recipe, finished: bool) -> dict[str, Any]:
    asked = recipe.model_dump(include=READ)
    if not finished:  # the curve so far is of these
        asked |= {"validation.clips": recipe.validation.clips, "eval.normalizer": recipe.eval.normalizer}
    training = {key: value for key, value in recipe.training.items() if key not in UNHEARD | INTERVALS}
    # A batch may be cut into smaller ones, as long as an optimizer step holds as many clips.
    sizes = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
    training[" * ".join(sizes)] = math.prod(training.pop(key, default) for key, default in sizes.items())
    asked["training"] = training
    for split in ("train", "validation"):
        corpora = getattr(recipe.corpora, split)
        asked[f"corpora.{split}"] = [corpus.model_dump(exclude=TOLD) for corpus in corpora]
    return asked


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of nested mappings and lists under dotted keys."""
    if not isinstance(tree, dict | list):
        return {prefix: tree}
    return {
        key: value
        for name, branch in (tree.items() if isinstance(tree, dict) else enumerate(tree))
        for key, value in _flat(branch, f"{prefix}.{name}".strip(".")).items()
    }
