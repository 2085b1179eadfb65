from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.run_directory import RunDirectory, TrainedKeyError
from tests.samples import RECIPE


def test_a_folder_without_a_recipe_is_not_a_run_directory(tmp_path: Path) -> None:
    with pytest.raises(EscoitaError) as error:
        RunDirectory(tmp_path).load_recipe()
    assert error.value.path == tmp_path and error.value.hint


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    (tmp_path / "recipe.yaml").write_text(RECIPE, "utf-8")
    return RunDirectory(tmp_path)


@pytest.mark.parametrize(
    "override", ["eval.batch_seconds=3", "card.title=Other", "hub.repo=u/n", "space.max_minutes=3", "base_revision=v1"]
)
def test_keys_that_training_does_not_read_may_be_set(run: RunDirectory, override: str) -> None:
    before = run.recipe.read_bytes()
    assert run.load_recipe([override]) != run.load_recipe() and run.recipe.read_bytes() == before


@pytest.mark.parametrize("override", ["training.max_steps=3", "base=other", "corpora.train=[]", "card=1"])
def test_keys_that_training_read_are_refused(run: RunDirectory, override: str) -> None:
    with pytest.raises(TrainedKeyError) as refused:
        run.load_recipe([override])
    assert (refused.value.path, refused.value.key, refused.value.value) == (run.path, "--set", override)


def test_a_changed_recipe_is_written(run: RunDirectory) -> None:
    run.change_recipe(["card.title=Other", "hub.private=true"])
    changed = run.load_recipe()
    assert changed.card.title == "Other" and changed.hub.private
    with pytest.raises(TrainedKeyError):
        run.change_recipe(["card.title=Third", "eval.batch_seconds=3"])
    assert run.load_recipe() == changed


def test_a_recipe_without_changes_is_not_written(run: RunDirectory) -> None:
    before = run.recipe.read_bytes()
    run.change_recipe(None)
    assert run.recipe.read_bytes() == before


def test_a_missing_adapter_is_reported(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with pytest.raises(EscoitaError) as error:
        run.trained_adapter()
    assert error.value.path == run.adapter and error.value.hint
    run.adapter.mkdir()
    assert run.trained_adapter() == str(run.adapter)
