"""
A card made with a stranger's template: in a process of its own, with limits of time and memory.

Jinja's sandbox keeps a template from what it may not touch; it does not keep it from loops that never end, nor from
texts larger than the memory.
"""

import json
import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from cards.blocks import LONGEST_CARD
from cards.build import build_card
from escoita.errors import EscoitaError, RecipeError
from escoita.rundir import RunDirectory


# An honest card takes half a second, the start of Python included.
MOST_SECONDS = 20
MOST_MEMORY_BYTES = 2 << 30
# Nothing else is inherited: no token is within reach.
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")


def build_confined(run: RunDirectory, base: str, adapter: str, seconds: int = MOST_SECONDS) -> str:
    """
    Builds the card of a run as [`~cards.build.build_card`] does, under the limits.

    Args:
        run ([`~escoita.rundir.RunDirectory`]): Holds recipe, template and records.
        base (`str`): Folder or repository of the base.
        adapter (`str`): The same of the adapter.
        seconds (`int`, *optional*): The most that it may take.

    Returns:
        `str`: Front matter and Markdown.

    Raises:
        RecipeError: The template takes more time or memory than it may, or writes too much.
        EscoitaError: What [`~cards.build.build_card`] refuses.
    """
    arguments = [str(run.path.absolute()), base, adapter, str(seconds)]
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    too_much = RecipeError(
        f"card.md.jinja: takes more than {seconds} s or {MOST_MEMORY_BYTES >> 30} GiB to make a card; not made"
    )
    try:
        done = subprocess.run(  # noqa: S603  # this interpreter, and no shell
            [sys.executable, "-m", "cards.confined", *arguments],
            cwd=Path(__file__).resolve().parent.parent,
            env=kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=2 * seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise too_much from error
    if done.returncode < 0:  # the limit of time is a signal
        raise too_much
    if done.returncode:
        raise RuntimeError(f"the process that makes the card failed:\n{done.stderr.decode(errors='replace')[-4000:]}")
    said = json.loads(done.stdout)
    if "refused" in said:
        raise EscoitaError(said["refused"])
    if "too_much" in said:
        raise too_much
    return str(said["card"])


def main(folder: str, base: str, adapter: str, seconds: str) -> None:
    """What the process does: it writes the card, or why there is none, as JSON."""
    limit = int(seconds)
    _lower(resource.RLIMIT_CPU, limit)
    with suppress(ValueError, OSError):  # macOS knows no limit of memory; time is limited all the same
        _lower(resource.RLIMIT_AS, MOST_MEMORY_BYTES)
    _lower(resource.RLIMIT_FSIZE, 0)  # it writes no file
    _lower(resource.RLIMIT_CORE, 0)
    run = RunDirectory(Path(folder))
    try:
        card = build_card(run, run.load_recipe(), base, adapter)
        said = {"card": card} if len(card) <= LONGEST_CARD else {"refused": "card.md.jinja: writes too long a card"}
    except EscoitaError as error:
        # A template in which memory ends is told like one with a mistake.
        memory = isinstance(error.__cause__, MemoryError)
        said = {"too_much": ""} if memory else {"refused": str(error)}
    except MemoryError:
        said = {"too_much": ""}
    sys.stdout.write(json.dumps(said))


def _lower(what: int, most: int) -> None:
    """Sets a limit, unless a lower one holds already, which nobody but the system's administrator may raise."""
    _, hard = resource.getrlimit(what)
    limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (limit, limit))


if __name__ == "__main__":
    main(*sys.argv[1:])
