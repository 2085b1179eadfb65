import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from accelerate import PartialState
from transformers import TrainerControl, TrainerState

from escoita.errors import TrainingError
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.training.checkpointing import (
    INTERVALS,
    UNHEARD,
    Clock,
    CurrentIntervals,
    LossUpToCheckpoint,
    only_one,
    refuse_other_processes,
    refuse_other_recipe,
    refuse_strangers,
)
from tests.conftest import ROOT
from tests.samples import RECIPE


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(yaml.safe_load(RECIPE) | changes)


def trained_on(*changes: dict[str, Any]) -> dict[str, Any]:
    """The corpora of the recipe, with the first of training changed, and others beside it."""
    corpora = yaml.safe_load(RECIPE)["corpora"]
    first, *others = changes
    return {"corpora": corpora | {"train": [corpora["train"][0] | first, *others]}}


def begun(folder: Path, **changes: Any) -> RunDirectory:
    """A run that has written a checkpoint."""
    run = RunDirectory(folder / "run")
    recipe(**changes).write(run.recipe)
    (run.checkpoints / "checkpoint-2").mkdir(parents=True)
    return run


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


@pytest.mark.parametrize("saves, logs, logged", [(True, False, True), (False, True, True), (False, False, False)])
def test_the_loss_up_to_a_checkpoint_is_logged(saves: bool, logs: bool, logged: bool) -> None:
    control = TrainerControl(should_save=saves, should_log=logs)
    LossUpToCheckpoint().on_step_end(None, None, control)
    assert control.should_log is logged


def test_processes_that_would_train_alone_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_strangers(1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    refuse_strangers(2)
    with pytest.raises(TrainingError, match="2 processes were started, but each would train alone"):
        refuse_strangers(1)


def test_one_process_does_not_train_on_several_gpus() -> None:
    refuse_strangers(1, 0)
    refuse_strangers(1, 1)
    with pytest.raises(TrainingError, match=r"there are 2 GPUs for one process: .*--nproc_per_node 2 .*DEVICES=0"):
        refuse_strangers(1, 2)


@pytest.mark.parametrize("written", [1, 2])
def test_another_number_of_processes_does_not_go_on(tmp_path: Path, written: int) -> None:
    there = tmp_path / "checkpoint-20"
    there.mkdir()
    for name in ["rng_state.pth"] if written == 1 else ["rng_state_0.pth", "rng_state_1.pth"]:
        (there / name).touch()
    refuse_other_processes(there, written)
    with pytest.raises(TrainingError, match=rf"checkpoint-20: was written by {written} processes, not 4; "):
        refuse_other_processes(there, 4)


def test_a_run_is_trained_by_one_command_at_a_time(tmp_path: Path) -> None:
    state = PartialState()
    run, other = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "other")
    with only_one(run, state), only_one(other, state):
        refused = pytest.raises(TrainingError, match=r"run: is being trained by another command")
        with refused, only_one(run, state):
            raise AssertionError("two at once")
    with only_one(run, state):
        pass


def test_a_new_run_and_the_same_recipe_may_go_on(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    assert refuse_other_recipe(run, recipe()) is None  # type: ignore[func-returns-value]
    run = begun(tmp_path)
    assert refuse_other_recipe(run, recipe()) is None  # type: ignore[func-returns-value]


def test_what_is_only_told_may_change(tmp_path: Path) -> None:
    run = begun(tmp_path)
    told = {"title": "Clips", "url": "https://a", "license": "mit", "description": "Of a room.", "publish_audio": True}
    refuse_other_recipe(run, recipe(**trained_on(told), card={"title": "Another", "license": "mit"}))


def test_how_a_finished_run_is_measured_may_change(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    recipe().write(run.recipe)
    run.training.touch()
    refuse_other_recipe(run, recipe(eval={"normalizer": "raw"}, validation={"clips": 3}))
    with pytest.raises(TrainingError, match="load_in_4bit was False, is True"):
        refuse_other_recipe(run, recipe(load_in_4bit=True))


def test_a_batch_may_be_cut_where_memory_is_short(tmp_path: Path) -> None:
    run = begun(tmp_path, training={"per_device_train_batch_size": 16})
    smaller = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    refuse_other_recipe(run, recipe(training=smaller | {"gradient_checkpointing": True, "dataloader_num_workers": 3}))
    with pytest.raises(TrainingError, match=r"train_batch_size \* gradient_accumulation_steps was 16, is 8"):
        refuse_other_recipe(run, recipe(training={"gradient_accumulation_steps": 1}))


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"language": "gl", "eval": {"normalizer": "uzbek"}}, "(language was 'uz', is 'gl')"),
        ({"load_in_4bit": True}, "(load_in_4bit was False, is True)"),
        ({"engine": "unsloth"}, "(engine was 'transformers', is 'unsloth')"),
        ({"validation": {"clips": 3}}, "(validation.clips was 200, is 3)"),
        ({"eval": {"normalizer": "raw"}}, "(eval.normalizer was 'uzbek', is 'raw')"),
        ({"training": {"learning_rate": 0.01, "bf16": False}}, "(training.learning_rate was 0.003, is 0.01)"),
        ({"training": {"bf16": False}}, "(training.learning_rate was 0.003, is None)"),
        ({"training": {"learning_rate": 0.003, "bf16": False, "seed": 1}}, "(training.seed was None, is 1)"),
        (trained_on({"weight": 2}), "(corpora.train.0.weight was 1.0, is 2.0)"),
        (trained_on({"columns": {"text": "frase"}}), "(corpora.train.0.columns.text was None, is 'frase')"),
        (trained_on({}, {"name": "more", "path": "more.csv"}), "(corpora.train.1.name was None, is 'more')"),
    ],
)
def test_another_recipe_is_refused_with_a_key_that_differs(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    run = begun(tmp_path)
    with pytest.raises(TrainingError) as error:
        refuse_other_recipe(run, recipe(**changes))
    assert said in str(error.value) and str(run.path) in str(error.value) and "\n" not in str(error.value)


def test_a_run_without_a_checkpoint_begins_with_whatever_recipe(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    recipe().write(run.recipe)
    refuse_other_recipe(run, recipe(load_in_4bit=True))
    (run.checkpoints / "checkpoint-2").mkdir(parents=True)
    with pytest.raises(TrainingError, match="--restart"):
        refuse_other_recipe(run, recipe(load_in_4bit=True))


def test_what_says_when_something_is_written_may_change(tmp_path: Path) -> None:
    run = begun(tmp_path)
    before = yaml.safe_load(RECIPE)["training"]
    refuse_other_recipe(run, recipe(training=before | dict.fromkeys(INTERVALS | UNHEARD, 7)))


def test_intervals_are_those_of_the_arguments_not_of_the_checkpoint() -> None:
    state = TrainerState(logging_steps=25, save_steps=100, eval_steps=100, max_steps=50)
    CurrentIntervals().on_train_begin(SimpleNamespace(logging_steps=5, save_steps=0.1, eval_steps=None), state, None)
    assert (state.logging_steps, state.save_steps) == (5, 5)


def messages(module: Path) -> Iterator[str]:
    """The texts of a module that are part of an error: literals, those of a name in capitals included."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error"):
            parts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
            yield "".join(part for part in parts if isinstance(part, str))
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").isupper():
            yield str(getattr(node.value, "value", ""))


# Errors of these can end a run that has written a checkpoint.
WHILE_TRAINING = ("data_collator", "oom", "resume", "sanity_checks", "sft", "trainer", "validation")
ADVISED = re.compile(r"training\.(\w+)|\b(load_in_4bit|engine)\b")


@pytest.mark.parametrize("module", WHILE_TRAINING)
def test_what_an_error_advises_to_change_may_be_changed_when_the_run_resumes(module: str, tmp_path: Path) -> None:
    run = begun(tmp_path)
    for message in messages(ROOT / f"escoita/training/{module}.py"):
        # What stands before is changed without starting again.
        resumed = message.partition("--restart")[0]
        keys = {training or other for training, other in ADVISED.findall(resumed)}
        if "per_device_train_batch_size" in keys:
            assert "gradient_accumulation_steps" in keys, message
            keys -= {"per_device_train_batch_size", "gradient_accumulation_steps"}  # tested above
        before = yaml.safe_load(RECIPE)["training"]
        # These are named before the first step, when there is no checkpoint.
        for key in keys - {"num_train_epochs", "max_steps", "bf16", "fp16"}:
            refuse_other_recipe(run, recipe(training=before | {key: 7}))


def test_the_test_above_finds_what_is_advised() -> None:
    found = {
        key
        for module in WHILE_TRAINING
        for text in messages(ROOT / f"escoita/training/{module}.py")
        for key in ADVISED.findall(text)
    }
    assert {("max_length", ""), ("optim", ""), ("", "load_in_4bit"), ("gradient_checkpointing", "")} <= found
