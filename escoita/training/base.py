"""The base that a run trains on: found once, kept with the checkpoints, and the same after every interruption."""

from pathlib import Path
from typing import TYPE_CHECKING

from escoita.models.base_model import Base, resolve_base
from escoita.errors import RecordError, TrainingError
from escoita.utils.files import write_atomically
from escoita.utils.limits import JSON_BYTES, read_bounded
from escoita.utils.processes import main_only
from escoita.recipe.recipe import Recipe
from escoita.records.training import BaseRecord
from escoita.hub.files import weights_digest
from escoita.run_directory import RunDirectory
from escoita.training.checkpoints import checkpoints_by_step


if TYPE_CHECKING:
    from accelerate import PartialState

NAME = "base.json"


def base_of_run(recipe: Recipe, run: RunDirectory, state: "PartialState", restart: bool = False) -> Base:
    """
    Find the base that a run trains on: the commit that it began with, or else the one that the recipe names now.

    Args:
        recipe ([`Recipe`]): Names the base, and perhaps its revision.
        run ([`RunDirectory`]): May hold checkpoints of an interrupted training; without one, the run begins.
        state (`PartialState`): The processes that train together; the main one asks the Hub for all.
        restart (`bool`, *optional*, defaults to `False`): The checkpoints are about to be removed.

    Raises:
        TrainingError: The base is a folder whose weights changed since the run began.
        EscoitaError: The base cannot be found.
    """
    before = read_base(run) if checkpoints_by_step(run.checkpoints) and not restart else None

    def find() -> Base:
        base = resolve_base(recipe.base, recipe_revision=before.commit if before else recipe.base_revision)
        if before and base.revision is None and weights_digest(recipe.base) != before.sha256:
            raise TrainingError(
                f"{run.path}: the weights of its base {recipe.base} changed since the run began; --restart trains from"
                " the first step, --set name=… under another name"
            )
        return base

    return main_only(find, state)


def pinned(recipe: Recipe, base: Base) -> Recipe:
    """Return the recipe with the commit of its base, so that everything is loaded from the same one."""
    return recipe.model_copy(update={"base_revision": base.revision}) if base.revision else recipe


def keep_base(run: RunDirectory, base: Base) -> BaseRecord:
    """
    Write down the base of a run, so that a resumed training loads the same one.

    Args:
        run ([`RunDirectory`]): Its folder of checkpoints is written to.
        base ([`~escoita.models.base_model.Base`]): Loaded.

    Returns:
        [`BaseRecord`]: Name, commit and digest of the weights.
    """
    record = base.record()
    write_atomically(_path(run), record.model_dump_json(indent=2) + "\n")
    return record


def read_base(run: RunDirectory) -> BaseRecord | None:
    """
    Return what [`keep_base`] wrote, if anything.

    Raises:
        RecordError: The file is damaged.
    """
    path = _path(run)
    if not path.is_file():
        return None
    try:
        return BaseRecord.from_json(read_bounded(path, JSON_BYTES))
    except ValueError as error:
        raise RecordError(f"{path}: cannot be read ({error}); --restart trains from the first step") from error


def _path(run: RunDirectory) -> Path:
    return run.checkpoints / NAME
