"""What survives a kill: time spent, count of sessions; and who may go on from a checkpoint."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from escoita.errors import TrainingError
from escoita.utils.processes import locked
from escoita.recipe.recipe import Recipe
from escoita.run_directory import RunDirectory
from escoita.training.checkpoints import checkpoints_by_step


if TYPE_CHECKING:
    from accelerate import PartialState

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
