"""Continue a run with more steps or epochs than it began with, also after it was finished."""

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from escoita.errors import RecordError, TrainingError
from escoita.recipe.schema import Recipe
from escoita.records.training import RunExtension, TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.utils.files import write_atomically
from escoita.utils.limits import JSON_BYTES, read_bounded


# The epochs of SFTConfig if a recipe names neither steps nor epochs.
DEFAULT_EPOCHS = 3.0
# The class in callbacks.py whose state a checkpoint holds; it cannot be imported here.
BEST_ADAPTER = "BestAdapter"
# Learning rate schedules that do not depend on the total number of steps.
WITHOUT_END = {"constant", "constant_with_warmup", "inverse_sqrt", "reduce_lr_on_plateau"}


class NoCheckpointError(TrainingError):
    """Report that a run cannot continue, because it has no checkpoint."""

    problem = "this run has no checkpoint to continue from"
    hint = "leave out --resume, or give --restart, to train from the first step"


class OutOfPatienceError(TrainingError):
    """
    Report that a run cannot be extended, because early stopping ended it.

    Args:
        step (`int`): The last step.
    """

    step: int
    problem = "early stopping ended this run after step {step}, so it takes no further step"
    hint = "set a larger validation.patience"


@dataclass(frozen=True)
class Extension:
    """
    Hold the key of a recipe that extends a run.

    Args:
        key (`str`): The key: `training.max_steps` or `training.num_train_epochs`.
        before (`float`): The value with which the run began.
        now (`float`): The larger value of the given recipe.
        schedule (`str`): The learning rate schedule.
    """

    key: str
    before: float
    now: float
    schedule: str

    def __str__(self) -> str:
        line = f"{self.key} was raised from {self.before:g} to {self.now:g}"
        if self.schedule in WITHOUT_END:
            return line
        return (
            f"{line}: from the checkpoint on, the learning rate follows the {self.schedule} schedule of the larger"
            " total; the adapter differs from one that is trained in one go"
        )


def extension_of(before: Recipe, now: Recipe) -> Extension | None:
    """
    Return how a recipe extends a run, or `None` if it does not.

    Steps are compared if both recipes limit them, epochs if neither does: the number of steps of an epoch is not
    known here.

    Args:
        before ([`Recipe`]): The recipe with which the run began.
        now ([`Recipe`]): The given recipe.
    """
    steps = [recipe.training.get("max_steps", -1) for recipe in (before, now)]
    epochs = [recipe.training.get("num_train_epochs", DEFAULT_EPOCHS) for recipe in (before, now)]
    if not all(isinstance(value, int | float) for value in (*steps, *epochs)):
        return None
    limited = [value > 0 for value in steps]
    if limited[0] != limited[1]:
        return None
    key, (first, second) = ("max_steps", steps) if all(limited) else ("num_train_epochs", epochs)
    schedule = str(now.training.get("lr_scheduler_type", "linear"))
    return Extension(f"training.{key}", first, second, schedule) if second > first else None


def extension_of_run(run: RunDirectory, recipe: Recipe) -> Extension | None:
    """Return how a recipe extends a run that began with another; `None` if it does not, or if there is no run."""
    return extension_of(run.load_recipe(), recipe) if run.recipe.exists() else None


# The file in the folder of the checkpoints that stores the extensions until the run is finished.
FILE = "extensions.json"
_EXTENSIONS = TypeAdapter(list[RunExtension])


def save_extension(run: RunDirectory, recipe: Recipe, checkpoint: Path | None) -> None:
    """
    Store that a recipe extends a run, before the recipe of the run is replaced.

    Args:
        run ([`RunDirectory`]): The run directory.
        recipe ([`Recipe`]): The recipe that may extend the run.
        checkpoint (`Path`, *optional*): The checkpoint from which the run resumes. Without one, it begins.
    """
    if checkpoint is None:
        (run.checkpoints / FILE).unlink(missing_ok=True)
    elif extension := extension_of_run(run, recipe):
        made = RunExtension(
            step=int(checkpoint.name.rpartition("-")[2]),
            unit="steps" if extension.key.endswith("steps") else "epochs",
            before=extension.before,
            now=extension.now,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        # A command that was killed before it replaced the recipe has stored the same extension.
        before = [each for each in read_extensions(run) if (each.unit, each.before) != (made.unit, made.before)]
        write_atomically(run.checkpoints / FILE, _EXTENSIONS.dump_json([*before, made], indent=2))


def read_extensions(run: RunDirectory) -> list[RunExtension]:
    """
    Return the extensions of a run, in their order.

    Raises:
        RecordError: The file is damaged.
    """
    path = run.checkpoints / FILE
    if not path.is_file():
        return []
    try:
        return _EXTENSIONS.validate_json(read_bounded(path, JSON_BYTES))
    except ValueError as error:
        hint = "give --restart to train from the first step"
        raise RecordError(f"cannot be read ({error})", path=path, hint=hint) from error


def reopen(run: RunDirectory, checkpoint: Path | None, patience: int | None) -> None:
    """
    Turn a finished run into an interrupted one, whose best adapter so far is the one that was saved.

    Args:
        run ([`RunDirectory`]): The run directory, with `training.json` and the adapter, which are removed.
        checkpoint (`Path`, *optional*): The last checkpoint.
        patience (`int`, *optional*): The `validation.patience` of the recipe.

    Raises:
        NoCheckpointError: There is no checkpoint.
        OutOfPatienceError: Early stopping ended the run.
    """
    if checkpoint is None:
        raise NoCheckpointError(path=run.path)
    state = json.loads((checkpoint / "trainer_state.json").read_bytes())
    best = state["stateful_callbacks"][BEST_ADAPTER]
    kept = best["attributes"]["step"]
    if patience is not None and best["attributes"]["not_improved"] >= patience:
        raise OutOfPatienceError(path=run.path, key="validation.patience", value=patience, step=state["global_step"])
    if kept is not None and kept == TrainingRecord.read(run.training).kept_step:
        folder, unfinished = run.best / f"step-{kept}", run.best / f"step-{kept}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for path in sorted(run.adapter.glob("adapter_*")):
            shutil.copy2(path, unfinished)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    run.training.unlink()
    shutil.rmtree(run.adapter)
