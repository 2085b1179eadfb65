"""Test that a run which is killed and resumed has the losses, evaluations and weights of an uninterrupted one."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from escoita.errors import ChangedDataError
from escoita.recipe.schema import Recipe
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.training.sft import train
from tests.conftest import ROOT, write_manifest


def started(recipe: Recipe, folder: Path) -> subprocess.Popen[bytes]:
    recipe.write(folder / "recipe.yaml")
    return subprocess.Popen(
        [sys.executable, "training/sft.py", "--recipe", str(folder / "recipe.yaml")],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_when_written(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL as soon as a file or folder exists."""
    deadline = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.001)
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_killed_run_has_the_result_of_an_uninterrupted_one(
    short_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    # 20 clips in batches of 4 are three steps per epoch, the last of one batch. Evaluations, checkpoints and log
    # entries have different steps.
    clips = {"train": 20, "validation": 6}
    corpora = [
        f"corpora.{split}=[{{name: few, path: {write_manifest(tmp_path / f'{split}.jsonl', split, count)}}}]"
        for split, count in clips.items()
    ]
    settings = [
        *corpora,
        "method.lora_dropout=0.1",
        "training.max_steps=-1",
        "training.num_train_epochs=3",
        "training.per_device_train_batch_size=4",
        "training.gradient_accumulation_steps=2",
        "training.logging_steps=3",
        "training.save_steps=2",
        "training.eval_strategy=epoch",
        "validation.clips=3",
    ]
    uninterrupted = train(short_recipe(*settings))

    recipe = short_recipe(*settings)
    run = RunDirectory(recipe.run_path)
    # The first kill is in the second epoch after a complete checkpoint, the second at its end during a checkpoint.
    kill_when_written(run.checkpoints / "checkpoint-4/trainer_state.json", started(recipe, tmp_path))
    kill_when_written(run.checkpoints / "checkpoint-6", started(recipe, tmp_path))
    assert not run.training.exists()
    resumed = train(recipe)

    assert uninterrupted is not None and resumed is not None
    assert [point.step for point in uninterrupted.loss] == [2, 3, 4, 6, 8, 9]
    assert resumed.loss == uninterrupted.loss and resumed.validation == uninterrupted.validation
    assert resumed.sessions in (2, 3) and resumed.steps == 9
    assert resumed.adapter_sha256 == uninterrupted.adapter_sha256
    assert resumed.pace is not None and uninterrupted.pace is not None
    assert resumed.pace.audio_seconds == uninterrupted.pace.audio_seconds
    assert TrainingRecord.read(run.training) == resumed


@pytest.mark.slow
def test_a_run_resumes_on_changed_rows_only_if_accepted(short_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "rows.jsonl", "train", 24)
    rows = manifest.read_text("utf-8").splitlines(keepends=True)
    corpus = f"corpora.train=[{{name: few, path: {manifest}}}]"
    recipe = short_recipe(corpus)
    run = RunDirectory(recipe.run_path)
    first = train(recipe)
    assert first is not None and first.data_changes == []
    run.training.unlink()  # the state of a run that was killed between the checkpoints of steps 2 and 4
    for folder in (run.adapter, run.checkpoints / "checkpoint-4"):
        shutil.rmtree(folder)

    manifest.write_text("".join(rows[:20]), "utf-8")
    for dry_run in (True, False):
        with pytest.raises(ChangedDataError) as refused:
            train(recipe, dry_run)
        assert (refused.value.added, refused.value.removed, refused.value.changed) == (0, 4, 0)
    assert not run.training.exists() and not run.adapter.exists()
    resumed = train(recipe, accept_changed_data=True)
    assert resumed is not None and (resumed.steps, resumed.corpora[0].utterances) == (4, 20)
    (change,) = resumed.data_changes
    assert (change.step, change.removed, change.earlier_corpora) == (2, 4, first.corpora)
    assert change.earlier_rows_sha256 == first.rows_sha256 != resumed.rows_sha256


@pytest.mark.slow
def test_intervals_and_limits_may_change_when_a_run_resumes(short_recipe: Callable[..., Recipe]) -> None:
    recipe = short_recipe()
    run = RunDirectory(recipe.run_path)
    uninterrupted = train(recipe)
    run.training.unlink()
    for folder in (run.adapter, run.checkpoints / "checkpoint-4"):
        shutil.rmtree(folder)
    settings = ["save_steps=1", "save_total_limit=3", "logging_steps=2", "max_length=4000"]
    resumed = train(short_recipe(f"run_dir={run.path}", *(f"training.{setting}" for setting in settings)))
    assert uninterrupted is not None and resumed is not None
    assert sorted(path.name for path in run.checkpoints.glob("checkpoint-*")) == [
        "checkpoint-2",
        "checkpoint-3",
        "checkpoint-4",
    ]
    assert resumed.adapter_sha256 == uninterrupted.adapter_sha256


@pytest.mark.slow
def test_rates_on_other_validation_clips_do_not_select_the_adapter(
    short_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    manifest = write_manifest(tmp_path / "validation.jsonl", "validation", 6)
    steps = ["training.eval_strategy=steps", "training.eval_steps=1", "training.warmup_steps=0", "validation.clips=3"]
    recipe = short_recipe(f"corpora.validation=[{{name: few, path: {manifest}}}]", *steps)
    run = RunDirectory(recipe.run_path)
    assert train(recipe) is not None
    run.training.unlink()
    shutil.rmtree(run.checkpoints / "checkpoint-4")
    write_manifest(manifest, "validation", 9)
    with pytest.raises(ChangedDataError) as refused:
        train(recipe)
    assert (refused.value.added, refused.value.removed, refused.value.changed) == (3, 0, 0)
    resumed = train(recipe, accept_changed_data=True)
    assert resumed is not None and resumed.kept_step in (3, 4)
    assert resumed.data_changes[0].validation and resumed.comparable_since == 2
