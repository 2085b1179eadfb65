import json
from pathlib import Path

import pytest
from accelerate import PartialState

from escoita.errors import TrainingError, WriteError
from escoita.run_directory import RunDirectory
from escoita.training.checkpointing import (
    MANIFEST,
    checkpoints_by_step,
    damage,
    finish_checkpoint,
    remove_checkpoints,
    start_over,
    usable_checkpoint,
    written_whole,
)


def checkpoint(run: RunDirectory, step: int) -> Path:
    """A checkpoint that is whole, with a folder in it as FSDP writes one."""
    written = run.checkpoints / "unfinished" / f"checkpoint-{step}"
    (written / "optimizer_0").mkdir(parents=True)
    for name in ("adapter_model.safetensors", "optimizer_0/part", "trainer_state.json"):
        (written / name).write_text(f"{step} {name}")
    finish_checkpoint(written, run.checkpoints / f"checkpoint-{step}")
    return run.checkpoints / f"checkpoint-{step}"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def test_there_is_nothing_to_resume_from(run: RunDirectory) -> None:
    assert usable_checkpoint(run, PartialState()) is None
    for name in ("runs", "checkpoint-best", "unfinished/checkpoint-3"):
        (run.checkpoints / name).mkdir(parents=True)
    assert usable_checkpoint(run, PartialState()) is None


def test_the_newest_is_the_one_of_the_highest_step(run: RunDirectory) -> None:
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


def spoilt_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\0" * 30)


@pytest.mark.parametrize("spoil", [truncated, flipped, zeroed, removed, without_manifest, spoilt_manifest])
def test_a_damaged_checkpoint_is_skipped_with_a_message(
    run: RunDirectory, spoil: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(spoil)
    before, newest = checkpoint(run, 20), checkpoint(run, 30)
    assert not damage(newest)
    spoil(newest)
    assert damage(newest)
    assert usable_checkpoint(run, PartialState()) == before
    (line,) = capsys.readouterr().err.splitlines()
    assert str(newest) in line and str(before) not in line


def test_a_run_of_damaged_checkpoints_alone_is_refused(run: RunDirectory) -> None:
    for step in (20, 30):
        flipped(checkpoint(run, step))
    with pytest.raises(TrainingError, match="checkpoint-30: .*--restart") as refused:
        usable_checkpoint(run, PartialState())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "limit, left", [(None, [10, 20, 30]), (0, [10, 20, 30]), (1, [20, 30]), (2, [20, 30]), (3, [10, 20, 30])]
)
def test_two_checkpoints_stay_at_least(run: RunDirectory, limit: int | None, left: list[int]) -> None:
    for step in (40, 10, 20, 30):  # of 40 the run did not resume, as it was damaged
        checkpoint(run, step)
    remove_checkpoints(run.checkpoints, 30, limit)
    assert list(checkpoints_by_step(run.checkpoints)) == left


def test_what_is_in_the_place_of_a_checkpoint_is_replaced(run: RunDirectory) -> None:
    (run.checkpoints / "checkpoint-3").mkdir(parents=True)
    (run.checkpoints / "checkpoint-3/of-an-earlier-attempt").touch()
    written = checkpoint(run, 3)
    assert not damage(written) and not (written / "of-an-earlier-attempt").exists()
    assert set(json.loads((written / MANIFEST).read_text())["files"]) == {
        "adapter_model.safetensors",
        "optimizer_0/part",
        "trainer_state.json",
    }


def test_starting_over_removes_what_training_wrote_alone(run: RunDirectory) -> None:
    checkpoint(run, 3)
    for folder in (run.adapter, run.best, run.eval):
        folder.mkdir()
    for file in (run.training, run.card):
        file.touch()
    start_over(run)
    assert {path.name for path in run.path.iterdir()} == {"checkpoints", "eval", "README.md"}
    assert not checkpoints_by_step(run.checkpoints)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("iostream\nerror")])
def test_a_write_that_fails_is_one_line_and_leaves_nothing(tmp_path: Path, error: Exception) -> None:
    folder = tmp_path / "checkpoint-4"
    with pytest.raises(WriteError, match=r"checkpoint-4: cannot be written") as refused, written_whole(folder):
        folder.mkdir()
        (folder / "optimizer.pt").write_text("begun")
        raise error
    assert not folder.exists() and "\n" not in str(refused.value)
    assert refused.value.path == folder and refused.value.free > 0
