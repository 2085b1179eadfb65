"""Checkpoints: written elsewhere and moved into place whole, compared with their manifest before they are used."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from escoita.errors import TrainingError
from escoita.utils.files import cannot_write, sha256, sync_files, write_atomically
from escoita.utils.processes import main_only
from escoita.utils.progress import say
from escoita.run_directory import RunDirectory


if TYPE_CHECKING:
    from accelerate import PartialState

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
