"""Run trials of the quick start's recipe on two of its clips."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from escoita.data.rows import Utterance, Utterances
from escoita.models import family_of
from escoita.recipe.schema import Recipe, load_recipe
from escoita.training.backends import untrained
from escoita.training.datasets import table
from escoita.training.trial import check_by_trial


RECIPE = "recipes/quickstart-uzbek.yaml"
CORPUS = Path("quickstart/corpus/uz")


def recipe_with(training: dict[str, Any] | None = None, *overrides: str) -> Recipe:
    """Return the quick start's recipe with another training section."""
    recipe = load_recipe(RECIPE, list(overrides))
    return recipe.model_copy(update={"training": {"bf16": False} | (training or {})})


@cache
def two_clips() -> Any:
    """Return the first clips of the quick start as a dataset."""
    rows = [json.loads(line) for line in (CORPUS / "train.jsonl").read_text("utf-8").splitlines()[:2]]
    clips = [
        Utterance(
            str(number), str(CORPUS / row["audio_filepath"]), row["text"], "clips", "uz", "m.jsonl", number,
            audio_seconds=1.0,
        )
        for number, row in enumerate(rows, start=1)
    ]  # fmt: skip
    return table(Utterances.of(clips))


@dataclass
class Case:
    """Hold a base with its processor, and a function that makes a recipe for it."""

    base: str
    make: Callable[..., Recipe] = recipe_with

    def __post_init__(self) -> None:
        self.family = family_of(self.base)
        self.processor = self.family.load_processor(self.base)

    def check(self, recipe: Recipe, **options: Any) -> None:
        """Take the step of a recipe; see [`check_by_trial`]."""
        check_by_trial(recipe, self.family, self.processor, two_clips(), untrained(recipe), **options)


@cache
def quickstart() -> Case:
    """Return the case of the quick start's base."""
    return Case(load_recipe(RECIPE).base)
