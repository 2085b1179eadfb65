"""A run that is killed again and again ends like one that was not: every loss, every evaluation, every weight."""

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


def kill_when(there: Path, process: subprocess.Popen[bytes]) -> None:
    """SIGKILL as soon as a file or folder is there."""
    deadline = time.monotonic() + 240
    while not there.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{there} was never there"
        time.sleep(0.001)
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_run_that_is_killed_in_any_epoch_ends_like_one_that_was_not(
    short_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    # 20 clips in batches of 4: three steps an epoch, the last of one batch. Evaluations, checkpoints and entries of
    # the log come at different steps.
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
    whole = train(short_recipe(*settings))

    recipe = short_recipe(*settings)
    run = RunDirectory(recipe.run_path)
    # Within the second epoch, its checkpoint whole; then at the end of it, while a checkpoint is being written.
    kill_when(run.checkpoints / "checkpoint-4/trainer_state.json", started(recipe, tmp_path))
    kill_when(run.checkpoints / "checkpoint-6", started(recipe, tmp_path))
    assert not run.training.exists()
    resumed = train(recipe)

    assert whole is not None and resumed is not None
    assert [point.step for point in whole.loss] == [2, 3, 4, 6, 8, 9]
    assert resumed.loss == whole.loss and resumed.validation == whole.validation
    assert resumed.sessions in (2, 3) and resumed.steps == 9
    assert resumed.adapter_sha256 == whole.adapter_sha256
    assert resumed.pace is not None and whole.pace is not None
    assert resumed.pace.audio_seconds == whole.pace.audio_seconds
    assert TrainingRecord.read(run.training) == resumed


@pytest.mark.slow
def test_a_run_resumes_on_other_rows_only_when_that_is_accepted(
    short_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    manifest = write_manifest(tmp_path / "rows.jsonl", "train", 24)
    rows = manifest.read_text("utf-8").splitlines(keepends=True)
    corpus = f"corpora.train=[{{name: few, path: {manifest}}}]"
    recipe = short_recipe(corpus)
    run = RunDirectory(recipe.run_path)
    first = train(recipe)
    assert first is not None and first.data_changes == []
    run.training.unlink()  # as a kill between the checkpoint of step 2 and that of step 4 leaves a run
    for folder in (run.adapter, run.checkpoints / "checkpoint-4"):
        shutil.rmtree(folder)

    manifest.write_text("".join(rows[:20]), "utf-8")
    for dry_run in (True, False):
        with pytest.raises(ChangedDataError, match="--accept-changed-data") as refused:
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
    whole = train(recipe)
    run.training.unlink()
    for folder in (run.adapter, run.checkpoints / "checkpoint-4"):
        shutil.rmtree(folder)
    settings = ["save_steps=1", "save_total_limit=3", "logging_steps=2", "max_length=4000"]
    resumed = train(short_recipe(f"run_dir={run.path}", *(f"training.{setting}" for setting in settings)))
    assert whole is not None and resumed is not None
    assert sorted(path.name for path in run.checkpoints.glob("checkpoint-*")) == [
        "checkpoint-2",
        "checkpoint-3",
        "checkpoint-4",
    ]
    assert resumed.adapter_sha256 == whole.adapter_sha256


@pytest.mark.slow
def test_rates_on_other_validation_clips_choose_no_adapter(
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
    with pytest.raises(ChangedDataError, match="validation: 3 added"):
        train(recipe)
    resumed = train(recipe, accept_changed_data=True)
    assert resumed is not None and resumed.kept_step in (3, 4)
    assert resumed.data_changes[0].validation and resumed.comparable_since == 2
