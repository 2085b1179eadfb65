from pathlib import Path
from typing import Any

import pytest
import yaml

from escoita.errors import TrainingError
from escoita.recipe import Recipe
from escoita.rundir import RunDirectory
from tests.escoita.samples import RECIPE
from training.session import Clock, last_checkpoint, refuse_other_recipe


def checkpoint(folder: Path, name: str, state: str | None = '{"global_step": 1}') -> Path:
    (folder / name).mkdir(parents=True)
    if state is not None:
        (folder / name / "trainer_state.json").write_text(state, "utf-8")
    return folder / name


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(yaml.safe_load(RECIPE) | changes)


def trained_on(*changes: dict[str, Any]) -> dict[str, Any]:
    """The corpora of the recipe, with the first of training changed, and others beside it."""
    corpora = yaml.safe_load(RECIPE)["corpora"]
    first, *others = changes
    return {"corpora": corpora | {"train": [corpora["train"][0] | first, *others]}}


def test_time_and_sessions_travel_in_the_checkpoint() -> None:
    clock = Clock(seconds=100.0, sessions=2)
    clock.on_train_begin(None, None, None)
    state = clock.state()
    again = Clock.from_state(state)
    again.on_train_begin(None, None, None)
    assert (clock.sessions, again.sessions) == (3, 4)
    assert again.seconds >= state["args"]["seconds"] >= 100


def test_time_before_training_is_not_counted() -> None:
    clock = Clock()
    clock.started -= 1000
    clock.on_train_begin(None, None, None)
    assert clock.seconds < 1000


@pytest.mark.parametrize("names", [[], ["runs"], ["checkpoint-best"]])
def test_nothing_to_go_on_from(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        checkpoint(tmp_path, name)
    assert last_checkpoint(tmp_path) is None
    assert last_checkpoint(tmp_path / "none") is None


def test_the_newest_by_step(tmp_path: Path) -> None:
    for name in ("checkpoint-20", "checkpoint-100", "checkpoint-9", "checkpoint-best"):
        checkpoint(tmp_path, name)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-100"


def test_the_last_step_is_not_gone_on_from(tmp_path: Path) -> None:
    """The trainer would take one more."""
    checkpoint(tmp_path, "checkpoint-20", '{"global_step": 20, "max_steps": 30}')
    checkpoint(tmp_path, "checkpoint-30", '{"global_step": 30, "max_steps": 30}')
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-20"


@pytest.mark.parametrize("state", [None, "", '{"global_step": 3', "\x00" * 20])
def test_a_checkpoint_that_is_not_whole_is_passed_over(tmp_path: Path, state: str | None) -> None:
    checkpoint(tmp_path, "checkpoint-20")
    checkpoint(tmp_path, "checkpoint-30", state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-20"


def test_a_new_run_and_the_same_recipe_may_go_on(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    assert refuse_other_recipe(run, recipe()) is None  # type: ignore[func-returns-value]
    recipe().write(run.recipe)
    assert refuse_other_recipe(run, recipe()) is None  # type: ignore[func-returns-value]


def test_what_is_only_told_may_change(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    recipe().write(run.recipe)
    told = {"title": "Clips", "url": "https://a", "license": "mit", "description": "Of a room.", "publish_audio": True}
    refuse_other_recipe(run, recipe(**trained_on(told), card={"title": "Another", "license": "mit"}))


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"language": "gl"}, "(language was 'uz', is 'gl')"),
        ({"training": {"learning_rate": 0.01, "bf16": False}}, "(training.learning_rate was 0.003, is 0.01)"),
        ({"training": {"bf16": False}}, "(training.learning_rate was 0.003, is None)"),
        ({"training": {"learning_rate": 0.003, "bf16": False, "seed": 1}}, "(training.seed was None, is 1)"),
        (trained_on({"weight": 2}), "(corpora.train.0.weight was 1.0, is 2.0)"),
        (trained_on({"columns": {"text": "frase"}}), "(corpora.train.0.columns.text was None, is 'frase')"),
        (trained_on({}, {"name": "more", "path": "more.csv"}), "(corpora.train.1.name was None, is 'more')"),
    ],
)
def test_another_recipe_is_refused_with_a_key_that_differs(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    run = RunDirectory(tmp_path / "run")
    recipe().write(run.recipe)
    with pytest.raises(TrainingError) as error:
        refuse_other_recipe(run, recipe(**changes))
    assert said in str(error.value) and str(run.path) in str(error.value) and "\n" not in str(error.value)
