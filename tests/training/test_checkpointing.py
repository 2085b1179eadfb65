import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from accelerate import PartialState
from transformers import TrainerControl, TrainerState

from escoita.errors import TrainingError, WriteError
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.training.checkpointing import (
    INTERVALS,
    MANIFEST,
    RESOURCE_FIELDS,
    ChangedRecipeError,
    Clock,
    CurrentIntervals,
    LossUpToCheckpoint,
    ProcessCountError,
    RunLockedError,
    SeparateProcessesError,
    SeveralGpusError,
    checkpoints_by_step,
    damage,
    finish_checkpoint,
    folder_written,
    refuse_other_process_count,
    refuse_other_recipe,
    refuse_separate_processes,
    remove_checkpoints,
    run_locked,
    start_over,
    usable_checkpoint,
)
from tests.conftest import ROOT
from tests.samples import RECIPE


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(yaml.safe_load(RECIPE) | changes)


def trained_on(*changes: dict[str, Any]) -> dict[str, Any]:
    """Return the corpora of the recipe, with the first training corpus changed, and others added."""
    corpora = yaml.safe_load(RECIPE)["corpora"]
    first, *others = changes
    return {"corpora": corpora | {"train": [corpora["train"][0] | first, *others]}}


def begun(folder: Path, **changes: Any) -> RunDirectory:
    """Return a run that has written a checkpoint."""
    run = RunDirectory(folder / "run")
    recipe(**changes).write(run.recipe)
    (run.checkpoints / "checkpoint-2").mkdir(parents=True)
    return run


def test_time_and_sessions_are_resumed() -> None:
    clock = Clock(seconds=100.0, sessions=2)
    clock.on_train_begin(None, None, None)
    state = clock.state()
    resumed = Clock.from_state(state)
    resumed.on_train_begin(None, None, None)
    assert (clock.sessions, resumed.sessions) == (3, 4)
    assert resumed.seconds >= state["args"]["seconds"] >= 100


def test_time_before_training_is_not_counted() -> None:
    clock = Clock()
    clock.started -= 1000
    clock.on_train_begin(None, None, None)
    assert clock.seconds < 1000


@pytest.mark.parametrize("saves, logs, logged", [(True, False, True), (False, True, True), (False, False, False)])
def test_the_loss_before_a_checkpoint_is_logged(saves: bool, logs: bool, logged: bool) -> None:
    control = TrainerControl(should_save=saves, should_log=logs)
    LossUpToCheckpoint().on_step_end(None, None, control)
    assert control.should_log is logged


def test_separate_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_separate_processes(1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    refuse_separate_processes(2)
    with pytest.raises(SeparateProcessesError) as error:
        refuse_separate_processes(1)
    assert error.value.started == 2


def test_one_process_does_not_train_on_several_gpus() -> None:
    refuse_separate_processes(1, 0)
    refuse_separate_processes(1, 1)
    with pytest.raises(SeveralGpusError) as error:
        refuse_separate_processes(1, 2)
    assert error.value.gpus == 2
    assert error.value.hint is not None and "--nproc_per_node 2 " in error.value.hint


@pytest.mark.parametrize("written_by", [1, 2])
def test_another_number_of_processes_does_not_resume(tmp_path: Path, written_by: int) -> None:
    folder = tmp_path / "checkpoint-20"
    folder.mkdir()
    for name in ["rng_state.pth"] if written_by == 1 else ["rng_state_0.pth", "rng_state_1.pth"]:
        (folder / name).touch()
    refuse_other_process_count(folder, written_by)
    with pytest.raises(ProcessCountError) as error:
        refuse_other_process_count(folder, 4)
    assert (error.value.path, error.value.written_by, error.value.processes) == (folder, written_by, 4)


def test_only_one_command_trains_a_run(tmp_path: Path) -> None:
    state = PartialState()
    run, other = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "other")
    with run_locked(run, state), run_locked(other, state):
        with pytest.raises(RunLockedError) as error, run_locked(run, state):
            raise AssertionError("two commands train the run")
        assert error.value.path == run.path
    with run_locked(run, state):
        pass


def test_a_new_run_and_the_same_recipe_are_accepted(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    assert refuse_other_recipe(run, recipe()) is None  # type: ignore[func-returns-value]
    run = begun(tmp_path)
    assert refuse_other_recipe(run, recipe()) is None  # type: ignore[func-returns-value]


def test_descriptions_may_change(tmp_path: Path) -> None:
    run = begun(tmp_path)
    changed = {"title": "Clips", "url": "https://a", "license": "mit", "description": "Words.", "publish_audio": True}
    refuse_other_recipe(run, recipe(**trained_on(changed), card={"title": "Another", "license": "mit"}))


def refused_key(run: RunDirectory, changed: Recipe) -> tuple[str | None, Any, Any]:
    with pytest.raises(ChangedRecipeError) as error:
        refuse_other_recipe(run, changed)
    assert error.value.path == run.path and "\n" not in str(error.value)
    return error.value.key, error.value.before, error.value.now


def test_the_evaluation_of_a_finished_run_may_change(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    recipe().write(run.recipe)
    run.training.touch()
    refuse_other_recipe(run, recipe(eval={"normalizer": "raw"}, validation={"clips": 3}))
    assert refused_key(run, recipe(load_in_4bit=True)) == ("load_in_4bit", False, True)


def test_a_finished_run_that_is_extended_keeps_the_validation_but_not_the_patience(tmp_path: Path) -> None:
    run = begun(tmp_path, training={"max_steps": 4})
    run.training.touch()
    more = {"max_steps": 8}
    refuse_other_recipe(run, recipe(training=more, validation={"patience": 3}))
    assert refused_key(run, recipe(training=more, eval={"primary": "cer"})) == ("eval.primary", "wer", "cer")


def test_the_batch_size_may_change_if_a_step_has_as_many_clips(tmp_path: Path) -> None:
    run = begun(tmp_path, training={"per_device_train_batch_size": 16})
    smaller = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    refuse_other_recipe(run, recipe(training=smaller | {"gradient_checkpointing": True, "dataloader_num_workers": 3}))
    key, *values = refused_key(run, recipe(training={"gradient_accumulation_steps": 1}))
    assert key is not None and "per_device_train_batch_size" in key and "gradient_accumulation_steps" in key
    assert values == [16, 8]


@pytest.mark.parametrize(
    "changes, key, before, now",
    [
        ({"language": "gl", "eval": {"normalizer": "uzbek"}}, "language", "uz", "gl"),
        ({"load_in_4bit": True}, "load_in_4bit", False, True),
        ({"engine": "unsloth"}, "engine", "transformers", "unsloth"),
        ({"validation": {"clips": 3}}, "validation.clips", 200, 3),
        ({"eval": {"normalizer": "raw"}}, "eval.normalizer", "uzbek", "raw"),
        ({"training": {"learning_rate": 0.01, "bf16": False}}, "training.learning_rate", 0.003, 0.01),
        ({"training": {"bf16": False}}, "training.learning_rate", 0.003, None),
        ({"training": {"learning_rate": 0.003, "bf16": False, "seed": 1}}, "training.seed", None, 1),
        (trained_on({"weight": 2}), "corpora.train.0.weight", 1.0, 2.0),
        (trained_on({"columns": {"text": "frase"}}), "corpora.train.0.columns.text", None, "frase"),
        (trained_on({}, {"name": "more", "path": "more.csv"}), "corpora.train.1.name", None, "more"),
    ],
)
def test_another_recipe_is_refused_with_a_key_that_differs(
    tmp_path: Path, changes: dict[str, Any], key: str, before: Any, now: Any
) -> None:
    assert refused_key(begun(tmp_path), recipe(**changes)) == (key, before, now)


def test_a_run_without_a_checkpoint_begins_with_any_recipe(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    recipe().write(run.recipe)
    refuse_other_recipe(run, recipe(load_in_4bit=True))
    (run.checkpoints / "checkpoint-2").mkdir(parents=True)
    assert refused_key(run, recipe(load_in_4bit=True)) == ("load_in_4bit", False, True)


def test_intervals_and_resources_may_change(tmp_path: Path) -> None:
    run = begun(tmp_path)
    before = yaml.safe_load(RECIPE)["training"]
    refuse_other_recipe(run, recipe(training=before | dict.fromkeys(INTERVALS | RESOURCE_FIELDS, 7)))


def test_intervals_come_from_the_arguments() -> None:
    state = TrainerState(logging_steps=25, save_steps=100, eval_steps=100, max_steps=50)
    CurrentIntervals().on_train_begin(SimpleNamespace(logging_steps=5, save_steps=0.1, eval_steps=None), state, None)
    assert (state.logging_steps, state.save_steps) == (5, 5)


def messages(module: Path) -> Iterator[str]:
    """Yield the texts of a module that are part of an error: literals, and values of `hint` and of constants."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        texts: ast.AST | None = None
        if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error"):
            texts = node
        elif isinstance(node, ast.Assign):
            name = getattr(node.targets[0], "id", "")
            texts = node.value if name.isupper() or name in ("hint", "problem") else None
        if texts is not None:
            parts = [each.value for each in ast.walk(texts) if isinstance(each, ast.Constant)]
            yield " ".join(part for part in parts if isinstance(part, str))


# Errors of these modules can end a run that has written a checkpoint.
WHILE_TRAINING = ("data_collator", "oom", "resume", "sanity_checks", "sft", "trainer", "validation")
ADVISED = re.compile(r"training\.(\w+)|\b(load_in_4bit|engine)\b")


@pytest.mark.parametrize("module", WHILE_TRAINING)
def test_keys_that_errors_advise_to_change_may_change(module: str, tmp_path: Path) -> None:
    run = begun(tmp_path)
    for message in messages(ROOT / f"escoita/training/{module}.py"):
        # The keys before `--restart` are changed without a restart.
        resumed = message.partition("--restart")[0]
        keys = {training or other for training, other in ADVISED.findall(resumed)}
        if "per_device_train_batch_size" in keys:
            assert "gradient_accumulation_steps" in keys, message
            keys -= {"per_device_train_batch_size", "gradient_accumulation_steps"}  # tested above
        before = yaml.safe_load(RECIPE)["training"]
        # Errors with these keys are raised before the first step, when there is no checkpoint.
        for key in keys - {"num_train_epochs", "max_steps", "bf16", "fp16"}:
            refuse_other_recipe(run, recipe(training=before | {key: 7}))


def test_messages_finds_advised_keys() -> None:
    found = {
        key
        for module in WHILE_TRAINING
        for text in messages(ROOT / f"escoita/training/{module}.py")
        for key in ADVISED.findall(text)
    }
    assert {("max_length", ""), ("optim", ""), ("", "load_in_4bit"), ("gradient_checkpointing", "")} <= found


def checkpoint(run: RunDirectory, step: int) -> Path:
    """Write a complete checkpoint, with a folder in it as FSDP writes one."""
    written = run.checkpoints / "unfinished" / f"checkpoint-{step}"
    (written / "optimizer_0").mkdir(parents=True)
    for name in ("adapter_model.safetensors", "optimizer_0/part", "trainer_state.json"):
        (written / name).write_text(f"{step} {name}")
    finish_checkpoint(written, run.checkpoints / f"checkpoint-{step}")
    return run.checkpoints / f"checkpoint-{step}"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def test_a_run_without_checkpoints_begins(run: RunDirectory) -> None:
    assert usable_checkpoint(run, PartialState()) is None
    for name in ("runs", "checkpoint-best", "unfinished/checkpoint-3"):
        (run.checkpoints / name).mkdir(parents=True)
    assert usable_checkpoint(run, PartialState()) is None


def test_the_newest_checkpoint_has_the_highest_step(run: RunDirectory) -> None:
    for step in (20, 100, 9):
        checkpoint(run, step)
    assert list(checkpoints_by_step(run.checkpoints)) == [9, 20, 100]
    assert usable_checkpoint(run, PartialState()) == run.checkpoints / "checkpoint-100"


def truncated(folder: Path) -> None:
    with (folder / "optimizer_0/part").open("r+b") as file:
        file.truncate(3)


def flipped(folder: Path) -> None:
    content = bytearray((folder / "optimizer_0/part").read_bytes())
    content[1] ^= 1
    (folder / "optimizer_0/part").write_bytes(content)


def zeroed(folder: Path) -> None:
    size = (folder / "optimizer_0/part").stat().st_size
    (folder / "optimizer_0/part").write_bytes(bytes(size))


def removed(folder: Path) -> None:
    (folder / "optimizer_0/part").unlink()


def without_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def invalid_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\0" * 30)


@pytest.mark.parametrize("change", [truncated, flipped, zeroed, removed, without_manifest, invalid_manifest])
def test_a_damaged_checkpoint_is_skipped_with_a_message(
    run: RunDirectory, change: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(change)
    before, newest = checkpoint(run, 20), checkpoint(run, 30)
    assert not damage(newest)
    change(newest)
    assert damage(newest)
    assert usable_checkpoint(run, PartialState()) == before
    (line,) = capsys.readouterr().err.splitlines()
    assert str(newest) in line and str(before) not in line


def test_a_run_with_only_damaged_checkpoints_is_refused(run: RunDirectory) -> None:
    for step in (20, 30):
        flipped(checkpoint(run, step))
    with pytest.raises(TrainingError) as refused:
        usable_checkpoint(run, PartialState())
    assert refused.value.path == run.checkpoints / "checkpoint-30" and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "limit, left", [(None, [10, 20, 30]), (0, [10, 20, 30]), (1, [20, 30]), (2, [20, 30]), (3, [10, 20, 30])]
)
def test_at_least_two_checkpoints_are_kept(run: RunDirectory, limit: int | None, left: list[int]) -> None:
    for step in (40, 10, 20, 30):  # the run did not resume from 40, which was damaged
        checkpoint(run, step)
    remove_checkpoints(run.checkpoints, 30, limit)
    assert list(checkpoints_by_step(run.checkpoints)) == left


def test_an_existing_checkpoint_is_replaced(run: RunDirectory) -> None:
    (run.checkpoints / "checkpoint-3").mkdir(parents=True)
    (run.checkpoints / "checkpoint-3/of-an-earlier-attempt").touch()
    written = checkpoint(run, 3)
    assert not damage(written) and not (written / "of-an-earlier-attempt").exists()
    assert set(json.loads((written / MANIFEST).read_text())["files"]) == {
        "adapter_model.safetensors",
        "optimizer_0/part",
        "trainer_state.json",
    }


def test_a_restart_removes_only_files_of_training(run: RunDirectory) -> None:
    checkpoint(run, 3)
    for folder in (run.adapter, run.best, run.eval):
        folder.mkdir()
    for file in (run.training, run.card):
        file.touch()
    start_over(run)
    assert {path.name for path in run.path.iterdir()} == {"checkpoints", "eval", "README.md"}
    assert not checkpoints_by_step(run.checkpoints)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("iostream\nerror")])
def test_a_failed_write_leaves_no_files(tmp_path: Path, error: Exception) -> None:
    folder = tmp_path / "checkpoint-4"
    with pytest.raises(WriteError) as refused, folder_written(folder):
        folder.mkdir()
        (folder / "optimizer.pt").write_text("begun")
        raise error
    assert not folder.exists() and "\n" not in str(refused.value)
    assert refused.value.path == folder and refused.value.free > 0
