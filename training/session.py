"""What survives a kill: the last whole checkpoint, the time spent, the count of sessions."""

import json
import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from escoita.errors import TrainingError
from escoita.recipe import Recipe
from escoita.rundir import RunDirectory


# What is only said of a corpus, and does not change what is heard.
TOLD = {"title", "url", "license", "description", "publish_audio"}


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


def last_checkpoint(folder: Path) -> Path | None:
    """
    The newest checkpoint to go on from: written whole, as the trainer's state, written last, is there and is JSON;
    and not of the last step, after which the trainer would take one more.
    """
    found = {path.name.removeprefix("checkpoint-"): path for path in folder.glob("checkpoint-*")}
    for step in sorted(filter(str.isdecimal, found), key=int, reverse=True):
        try:
            state = json.loads((found[step] / "trainer_state.json").read_text())
        except (OSError, ValueError):
            continue
        if state.get("global_step", 0) < state.get("max_steps", math.inf):
            return found[step]
    return None


def refuse_other_recipe(run: RunDirectory, recipe: Recipe) -> None:
    """
    Refuses to continue a run with another recipe than it began with; what training does not read may change.

    Raises:
        TrainingError: Names a key that differs.
    """
    if not run.recipe.exists():
        return
    before, now = (_flat(_read_by_training(each)) for each in (run.load_recipe(), recipe))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        raise TrainingError(
            f"{run.path} holds a run of another recipe ({changed[0]} was {before.get(changed[0])!r}, is"
            f" {now.get(changed[0])!r}); remove the folder, or train under another name with --set name=…"
        )


def _read_by_training(recipe: Recipe) -> dict[str, Any]:
    asked = recipe.model_dump(include={"base", "base_revision", "dtype", "language", "method", "prompt", "training"})
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
