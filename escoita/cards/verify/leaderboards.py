"""What a repository tells the leaderboards of the Hub, against the recomputed record."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from escoita.cards.verify.check import Check, compared, unprovable
from escoita.cards.verify.rates import differences
from escoita.utils.plain_yaml import read_yaml


FOLDER = ".eval_results"


def check_leaderboards(folder: Path, made: Mapping[str, bytes]) -> Iterator[Check]:
    """
    Compares each file of `.eval_results/` with the same made anew.

    Args:
        folder (`Path`): What was published.
        made (`Mapping[str, bytes]`): From [`~escoita.cards.benchmarks.benchmark_files`], by path.
    """
    there = {path.relative_to(folder).as_posix(): path for path in sorted((folder / FOLDER).rglob("*.y*ml"))}
    for name in sorted(there.keys() | made.keys()):
        if name not in made:
            yield unprovable(name, "the recipe asks for no such file, and no record gives what it says")
        elif name not in there:
            yield Check(name, "differs", ["is missing"])
        else:
            anew = _entries(made[name])
            found = list(differences(_entries(there[name].read_bytes()), anew))
            yield compared(name, found, f"{len(anew)} values")


def _entries(content: bytes) -> dict[str, Any]:
    """What a file says, by its place there; of one that is not YAML nothing."""
    try:
        said, _ = read_yaml(content)
    except yaml.YAMLError:
        return {}
    return {f"entry {place}": entry for place, entry in enumerate(said, start=1)} if isinstance(said, list) else {}
