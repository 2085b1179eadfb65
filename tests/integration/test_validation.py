"""Test validation during training on the tiny base, with and without a kill, and tracking without a network."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from escoita.recipe.schema import Recipe
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.training.sft import load_processor, make_collator, make_datasets, make_trainer, prepare, train
from tests.conftest import ROOT, write_manifest


@pytest.fixture(scope="module")
def validated_recipe(
    short_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Recipe]:
    """Return the short recipe with three steps per epoch, and a validation of five clips after each epoch."""
    folder = tmp_path_factory.mktemp("validation")
    first, second = (write_manifest(folder / f"{name}.jsonl", "validation", 6) for name in ("a", "b"))

    def make(*overrides: str) -> Recipe:
        return short_recipe(
            f"corpora.validation=[{{name: a, path: {first}}}, {{name: b, path: {second}}}]",
            "training.eval_strategy=epoch",
            "training.max_steps=8",
            "training.save_steps=3",
            "validation.clips=5",
            *overrides,
        )

    return make


@pytest.fixture(scope="module")
def uninterrupted(validated_recipe: Callable[..., Recipe]) -> tuple[Recipe, TrainingRecord]:
    recipe = validated_recipe()
    record = train(recipe)
    assert record is not None
    return recipe, record


def test_base_epochs_and_last_step_are_evaluated(uninterrupted: tuple[Recipe, TrainingRecord]) -> None:
    recipe, record = uninterrupted
    assert [point.step for point in record.validation] == [0, 3, 6, 8]
    assert {point.utterances for point in record.validation} == {5}
    first, last = record.validation[0], record.validation[-1]
    assert last.loss < first.loss and first.wer is not None and first.wer > 0.5
    best = min(record.validation[1:], key=lambda point: (point.wer, point.cer, point.loss))
    assert record.kept_step == best.step
    assert not RunDirectory(recipe.run_path).best.exists()


@pytest.mark.parametrize("sampled, evaluated", [(5, 5), (0, 12)])
def test_the_loss_is_evaluated_on_the_transcribed_clips(
    validated_recipe: Callable[..., Recipe], sampled: int, evaluated: int
) -> None:
    setup = prepare(validated_recipe(f"validation.clips={sampled}"))
    processor = load_processor(setup)
    datasets = make_datasets(setup, processor)
    trainer = make_trainer(setup, make_collator(setup, processor), datasets)
    assert len(trainer.eval_dataset) == evaluated
    assert len(trainer.validation_set.clips if trainer.validation_set else []) == sampled


@pytest.mark.slow
def test_a_killed_run_keeps_the_same_adapter(
    uninterrupted: tuple[Recipe, TrainingRecord], validated_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    other, expected = uninterrupted
    recipe = validated_recipe()
    run = RunDirectory(recipe.run_path)
    recipe.write(tmp_path / "recipe.yaml")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_VALIDATION, str(tmp_path / "recipe.yaml")],
        cwd=ROOT,
        capture_output=True,
        timeout=300,
    )
    assert killed.returncode == -signal.SIGKILL
    state = json.loads((run.checkpoints / "checkpoint-3/trainer_state.json").read_text())
    assert [entry["step"] for entry in state["log_history"] if "eval_wer" in entry] == [0, 3]
    assert not (run.checkpoints / "checkpoint-6").exists()  # evaluated, but not yet saved

    record = train(recipe)
    assert record is not None and record.sessions == 2
    assert record.validation == [
        point.model_copy(update={"loss": pytest.approx(point.loss, abs=1e-5)}) for point in expected.validation
    ]
    assert record.kept_step == expected.kept_step
    weights, others = (load_file(RunDirectory(each.run_path).adapter / WEIGHTS) for each in (recipe, other))
    assert weights.keys() == others.keys()
    assert all(weights[name] == pytest.approx(others[name], abs=1e-5) for name in weights)


WEIGHTS = "adapter_model.safetensors"
KILLED_AFTER_VALIDATION = """
import os, signal, sys
from escoita.training.callbacks import BestAdapter
from escoita.training.sft import load_processor, make_collator, make_datasets, make_trainer, prepare, train
from escoita.recipe.schema import load_recipe

def kill_at_6(self, args, state, control, on_evaluate=BestAdapter.on_evaluate, **kwargs):
    on_evaluate(self, args, state, control, **kwargs)
    if state.global_step == 6:
        os.kill(os.getpid(), signal.SIGKILL)

BestAdapter.on_evaluate = kill_at_6
train(load_recipe(sys.argv[1]))
"""


def test_patience_stops_training(validated_recipe: Callable[..., Recipe], capfd: pytest.CaptureFixture[str]) -> None:
    """With a very low learning rate, no step has a lower WER."""
    rate = [
        "training.learning_rate=1e-12",
        "training.eval_strategy=steps",
        "training.eval_steps=1",
        "training.warmup_steps=0",
    ]
    recipe = validated_recipe("validation.patience=2", *rate)
    record = train(recipe)
    assert record is not None and (record.steps, record.kept_step) == (3, 1)
    output = capfd.readouterr().err
    assert "step 3" in output and "step 1 " in output
    # A longer run with more patience continues: the patience is that of the recipe, not that of the checkpoint.
    folder = f"run_dir={recipe.run_path}"
    record = train(validated_recipe("validation.patience=3", *rate, folder, "training.max_steps=9"))
    assert record is not None and (record.steps, record.kept_step) == (4, 1)
    assert [(each.step, each.now) for each in record.extensions] == [(3, 9)]


def test_without_clips_only_the_loss_is_evaluated(validated_recipe: Callable[..., Recipe]) -> None:
    record = train(validated_recipe("validation.clips=0", "training.max_steps=2"))
    assert record is not None and record.kept_step is None
    assert [(point.step, point.wer, point.utterances) for point in record.validation] == [(0, None, 0), (2, None, 0)]


TRACKED = """
import socket, sys

def refuse(self, address):
    raise AssertionError(f"a connection to {address}")

socket.socket.connect = refuse
from escoita.training.sft import load_processor, make_collator, make_datasets, make_trainer, prepare, train
from escoita.recipe.schema import load_recipe
train(load_recipe(sys.argv[1]))
"""


@pytest.mark.slow
def test_tensorboard_and_trackio_get_loss_and_wer_without_a_network(
    validated_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("trackio")
    recipe = validated_recipe("training.max_steps=2", "training.report_to=[tensorboard, trackio]")
    recipe.write(tmp_path / "recipe.yaml")
    home = {"HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "home/hf"), "PYTHONPATH": str(ROOT)}
    unset = {"TRACKIO_DIR", "TENSORBOARD_LOGGING_DIR"}
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    done = subprocess.run(
        [sys.executable, "-c", TRACKED, str(tmp_path / "recipe.yaml")],
        cwd=ROOT,
        env=environment | home,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    run = RunDirectory(recipe.run_path)
    record = TrainingRecord.read(run.training)
    wer = [(point.step, point.wer) for point in record.validation]
    assert [step for step, _ in wer] == [0, 2]
    losses = [(point.step, point.loss) for point in record.loss]

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.tracking / "tensorboard"))
    events.Reload()
    for tag, expected in ("train/loss", losses), ("eval/wer", wer):
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert found == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected]

    with sqlite3.connect(run.tracking / "trackio/escoita.db") as database:
        rows = database.execute("SELECT run_name, metrics FROM metrics ORDER BY id").fetchall()
    logged = [json.loads(metrics) for name, metrics in rows if name == "quickstart-uzbek"]
    for tag, expected in ("train/loss", losses), ("eval/wer", wer):
        assert [(row["train/global_step"], row[tag]) for row in logged if tag in row] == expected
    assert not (tmp_path / "home/.cache/huggingface/trackio").exists()
