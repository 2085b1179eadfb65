"""Test signals, full and read-only disks, and concurrent commands: each is one line, and no file is lost."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from escoita.cli import main as cli
from escoita.errors import EscoitaError, WriteError
from escoita.evaluation.evaluate import LOCK, evaluate_run
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import EvaluationRecord
from escoita.run_directory import RunDirectory
from escoita.training.checkpointing import RunLockedError
from escoita.training.sft import train
from tests.conftest import CORPUS, ROOT


Command = Callable[..., subprocess.CompletedProcess[str]]
# The function of each command in which the signal arrives.
WORK = {
    "eval": "escoita.evaluation.evaluate.evaluate_run",
    "data": "escoita.data.report.write_survey",
    "push": "escoita.cards.publish.push",
    "card": "escoita.cards.build.write_card",
}


@pytest.mark.parametrize("signum, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("name", WORK)
def test_a_signal_has_one_line_and_its_own_status(
    quickstart_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    signum: int,
    status: int,
) -> None:
    def work(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signum)
        time.sleep(10)

    monkeypatch.setattr(WORK[name], work)
    subject = [str(quickstart_run / "recipe.yaml")] if name == "data" else ["--run", str(quickstart_run)]
    monkeypatch.setattr(sys, "argv", ["escoita", name, *subject])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == status and line.startswith("escoita: ") and signal.Signals(signum).name in line


@pytest.mark.slow
def test_a_stopped_evaluation_resumes(quickstart_run: Path, command: Command, tmp_path: Path) -> None:
    run = RunDirectory(shutil.copytree(quickstart_run, tmp_path / "run"))
    before = EvaluationRecord.read(run.results)
    arguments = ["-m", "escoita", "eval", "--run", str(run.path), "--set", "eval.batch_seconds=1"]
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    while not list(run.eval.glob("*/.unfinished-base/*.jsonl")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, output = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in output
    assert output.splitlines()[-1].startswith("escoita: ") and "SIGTERM" in output.splitlines()[-1]
    assert EvaluationRecord.read(run.results) == before
    again = command(*arguments)
    assert again.returncode == 0, again.stderr
    after = EvaluationRecord.read(run.results)
    assert [each.name for each in after.systems] == [each.name for each in before.systems]


def test_concurrent_evaluations_of_a_run_are_refused(quickstart_run: Path) -> None:
    from accelerate import PartialState

    from escoita.utils.processes import locked

    run = RunDirectory(quickstart_run)
    before = run.results.read_bytes()
    refusing = pytest.raises(EscoitaError)
    with locked(run.eval / LOCK, EscoitaError("locked"), PartialState()), refusing as refused:
        evaluate_run(run.path)
    assert str(run.eval) in str(refused.value) and run.results.read_bytes() == before


def test_an_evaluation_before_the_training_is_finished(short_recipe: Callable[..., Recipe]) -> None:
    recipe = short_recipe()
    recipe.write(RunDirectory(recipe.run_path).recipe)
    with pytest.raises(EscoitaError):
        evaluate_run(recipe.run_path)
    assert not RunDirectory(recipe.run_path).results.exists()


def test_concurrent_trainings_are_refused(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = short_recipe()

    def second(*_: object) -> None:
        train(recipe)

    monkeypatch.setattr("escoita.training.sft.take_steps", second)
    with pytest.raises(RunLockedError) as error:
        train(recipe)
    assert error.value.path == recipe.run_path


def test_a_read_only_run_directory(short_recipe: Callable[..., Recipe], read_only: Path) -> None:
    with pytest.raises(WriteError) as refused:
        train(short_recipe(f"run_dir={read_only / 'run'}"))
    assert Path(str(refused.value.path)).is_relative_to(read_only)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system, and not in every container")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, free: int = 0) -> None:
    """Fill a disk up to a number of free bytes."""
    (disk / "filler").unlink(missing_ok=True)
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError:
            pass
        file.truncate(max(0, file.tell() - free))


def files_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (LOCK, "lock", "filler")
    }


def assert_one_line(ended: subprocess.CompletedProcess[str], disk: Path) -> None:
    assert ended.returncode == 1 and "Traceback" not in ended.stderr, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("escoita: ")]
    assert str(disk) in line


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [["eval", "--run"], ["card", "--force", "--run"], ["report", "--run"], ["merge", "--out", "MERGED", "--run"]],
    ids=["eval", "card", "report", "merge"],
)
def test_a_full_disk_does_not_change_a_run(
    quickstart_run: Path, command: Command, small_disk: Path, arguments: list[str]
) -> None:
    run = shutil.copytree(quickstart_run, small_disk / "run", ignore=shutil.ignore_patterns("checkpoints"))
    fill(small_disk)
    before = files_of(small_disk)
    arguments = [str(small_disk / "merged") if part == "MERGED" else part for part in arguments]
    assert_one_line(command("-m", "escoita", *arguments, str(run)), small_disk)
    assert files_of(small_disk) == before
    (small_disk / "filler").unlink()
    again = command("-m", "escoita", *arguments, str(run))
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_a_full_disk_during_the_data_report(quickstart_run: Path, command: Command, small_disk: Path) -> None:
    """The command does not need the cache, and reports it once; the record cannot be written."""
    run = shutil.copytree(quickstart_run, small_disk / "run", ignore=shutil.ignore_patterns("checkpoints"))
    arguments = ["-m", "escoita", "data", str(run / "recipe.yaml"), "--set", f"run_dir={run}"]
    environment = {"ESCOITA_CACHE": str(small_disk / "cache")}
    validation = f"corpora.validation=[{{name: more, path: {CORPUS / 'validation.jsonl'}}}]"
    done = command(*arguments, **environment)
    assert done.returncode == 0, done.stderr
    fill(small_disk)
    before = files_of(small_disk)
    ended = command(*arguments, "--set", validation, **environment)
    assert_one_line(ended, small_disk)
    (_,) = [line for line in ended.stderr.splitlines() if str(small_disk / "cache") in line]
    assert files_of(small_disk) == before
    (small_disk / "filler").unlink()
    again = command(*arguments, "--set", validation, **environment)
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("free", [0, 100_000, 1_500_000, 3_500_000])
def test_a_full_disk_during_training(
    short_recipe: Callable[..., Recipe], command: Command, small_disk: Path, tmp_path: Path, free: int
) -> None:
    """Without space for the recipe, the first checkpoint, the second, and the adapter."""
    recipe = short_recipe(f"run_dir={small_disk / 'run'}")
    recipe.write(tmp_path / "recipe.yaml")
    fill(small_disk, free)
    arguments = ["-m", "escoita", "train", str(tmp_path / "recipe.yaml")]
    assert_one_line(command(*arguments), small_disk)
    run = RunDirectory(recipe.run_path)
    assert not run.training.exists() and not run.adapter.exists()
    assert not [path for path in run.path.rglob("*") if "unfinished" in path.name or path.name.startswith(".")]
    (small_disk / "filler").unlink()
    again = command(*arguments)
    assert again.returncode == 0 and run.training.exists(), again.stderr
