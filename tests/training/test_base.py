from collections.abc import Callable
from pathlib import Path

import pytest
from accelerate import PartialState

from escoita.errors import TrainingError
from escoita.models.base_model import Base
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.training import resume as module
from escoita.training.resume import base_of_run, keep_base, pinned, read_base


FIRST, NOW, OTHER = "a" * 40, "b" * 40, "c" * 40


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """A Hub whose main is at a newer commit than when the run began; returns what is asked for."""
    found: list[tuple[str, str | None]] = []

    def resolve(base: str, recipe_revision: str | None = None) -> Base:
        found.append((base, recipe_revision))
        return Base(base, None if Path(base).is_dir() else recipe_revision or NOW, "1" * 64)

    monkeypatch.setattr(module, "resolve_base", resolve)
    return found


def begun(recipe: Recipe, base: Base, checkpoint: bool) -> RunDirectory:
    run = RunDirectory(recipe.run_path)
    run.checkpoints.mkdir(parents=True)
    keep_base(run, base)
    if checkpoint:
        (run.checkpoints / "checkpoint-5").mkdir()
    return run


def test_a_run_resumes_on_the_commit_that_it_began_with(
    short_recipe: Callable[..., Recipe], asked: list[tuple[str, str | None]]
) -> None:
    recipe = short_recipe("base=acme/base")
    run = begun(recipe, Base("acme/base", FIRST, "1" * 64), checkpoint=True)
    assert pinned(recipe, base_of_run(recipe, run, PartialState())).base_revision == FIRST
    assert pinned(recipe, base_of_run(recipe, run, PartialState(), restart=True)).base_revision == NOW


@pytest.mark.parametrize("now", ["base=acme/another", "base_revision=" + OTHER])
def test_a_run_without_a_checkpoint_begins_on_the_base_of_the_recipe(
    short_recipe: Callable[..., Recipe], asked: list[tuple[str, str | None]], now: str
) -> None:
    recipe = short_recipe("base=acme/base", now)
    run = begun(recipe, Base("acme/base", FIRST, "1" * 64), checkpoint=False)
    found = base_of_run(recipe, run, PartialState())
    assert asked == [(recipe.base, recipe.base_revision)]
    assert (found.name, found.revision) == (recipe.base, recipe.base_revision or NOW)


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_folder_whose_weights_changed_is_refused_once_the_run_has_a_checkpoint(
    short_recipe: Callable[..., Recipe], asked: list[tuple[str, str | None]], checkpoint: bool
) -> None:
    recipe = short_recipe()
    run = begun(recipe, Base(recipe.base, None, "1" * 64), checkpoint)
    if checkpoint:
        with pytest.raises(TrainingError, match="changed since the run began"):
            base_of_run(recipe, run, PartialState())
    else:
        assert base_of_run(recipe, run, PartialState()).name == recipe.base
    assert (record := read_base(run)) and record.sha256 == "1" * 64
