"""Room for what a training writes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from escoita.recipe.recipe import Recipe
from escoita.training.checkpoints import FEWEST
from escoita.training.preflight.finding import Finding
from escoita.training.preflight.memory import GIGABYTE, Estimate
from escoita.training.preflight.settings import asked


# Beside adapter and optimizer a checkpoint holds tokenizer, processor and states.
_BESIDE = 50e6


def find_disk(recipe: Recipe, taken: Estimate, download_bytes: int) -> Iterator[Finding]:
    """
    Compares what is free with checkpoints, adapters, and the base where it is still to be downloaded.

    Args:
        recipe ([`Recipe`]): How many checkpoints are kept.
        taken ([`Estimate`]): Of memory; what trains is written as it stands there.
        download_bytes (`int`): Of the base.
    """
    limit = asked(recipe, "save_total_limit")
    # One more than are kept is there for a moment; the best adapter of each and the last stand beside them.
    checkpoints = max(int(limit or 0), FEWEST) + 1
    needed = checkpoints * (taken.trained + taken.optimizer + _BESIDE) + (checkpoints + 1) * (taken.trained + _BESIDE)
    yield _compare("disk", "checkpoints and adapters", needed, recipe.run_path)
    if not limit:
        each = (taken.trained + taken.optimizer + _BESIDE) / GIGABYTE
        found = f"every checkpoint is kept, each of {each:.2f} GB"
        yield Finding("warning", "disk", found, "set training.save_total_limit: 2")
    if download_bytes:
        from huggingface_hub.constants import HF_HUB_CACHE

        yield _compare("disk", "the base, in the cache of the Hub", download_bytes, Path(HF_HUB_CACHE))


def _compare(about: str, what: str, needed: float, folder: Path) -> Finding:
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    found = f"{what} take {needed / GIGABYTE:.2f} GB; {free / GIGABYTE:.1f} GB are free"
    if needed > free:
        return Finding("refusal", about, found, "free some, or put it elsewhere (run_dir, HF_HOME)")
    return Finding("ok", about, found)
