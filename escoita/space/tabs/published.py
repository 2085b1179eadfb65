"""What was published with an adapter, as the page shows it: records, recipe and plots, read anew each time."""

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from escoita.errors import RecipeError, RecordError
from escoita.records.evaluation import EvaluationRecord
from escoita.recipe.recipe import Recipe
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory


Found = TypeVar("Found")


@dataclass(frozen=True)
class Published:
    """
    The records of an adapter, as far as there are any.

    Args:
        recipe ([`~escoita.recipe.recipe.Recipe`], *optional*): What was asked for.
        training ([`~escoita.records.training.TrainingRecord`], *optional*): What happened.
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`], *optional*): How well it hears.
        plots (`dict[str, str]`): Address of each plot, by the name of its file, which ends in `.svg`.
        unreadable (`Sequence[str]`): Of each record that is there and cannot be read, why.
    """

    recipe: Recipe | None
    training: TrainingRecord | None
    evaluation: EvaluationRecord | None
    plots: dict[str, str]
    unreadable: Sequence[str]


def read_published(run: RunDirectory | None) -> Published:
    """
    Reads what is there.

    Args:
        run ([`~escoita.run_directory.RunDirectory`], *optional*): A run directory, or a repository of an adapter that was
            downloaded, which has the same layout.
    """
    if run is None:
        return Published(None, None, None, {}, [])
    unreadable: list[str] = []

    def read(path: Path, load: Callable[[], Found]) -> Found | None:
        try:
            return load() if path.is_file() else None
        except (RecipeError, RecordError) as error:
            # Where the run lies is nobody's business.
            unreadable.append(str(error).replace(f"{run.path}/", ""))
            return None

    return Published(
        read(run.recipe, run.load_recipe),
        read(run.training, lambda: TrainingRecord.read(run.training)),
        read(run.results, lambda: EvaluationRecord.read(run.results)),
        {path.name: data_address(path.read_bytes()) for path in _drawn(run)},
        unreadable,
    )


def normalizer_of(run: RunDirectory | None) -> str:
    """What the recipe makes texts alike with before edits are counted; `raw` where none was published."""
    recipe = read_published(run).recipe
    return recipe.eval.normalizer if recipe else "raw"


def data_address(plot: bytes) -> str:
    """An SVG as the address of a picture: what a browser shows so neither runs scripts nor fetches anything."""
    return f"data:image/svg+xml;base64,{base64.b64encode(plot).decode()}"


def _drawn(run: RunDirectory) -> Iterator[Path]:
    yield from sorted(run.eval.glob("*.svg"))
    if run.curve.is_file():
        yield run.curve
