"""Signals, damage and full disks: a run that was stopped in any way ends like one that was not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from escoita.errors import TrainingError
from escoita.recipe.schema import Recipe
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.training.checkpointing import checkpoints_by_step, damage
from escoita.training.sft import train
from tests.conftest import ROOT, write_manifest


Start = Callable[..., subprocess.Popen[str]]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "training/sft.py")
# A script that sends its process a signal in the middle of a training: at what, and which.
SIGNALLED = """
import os, signal, sys
import torch
from escoita.cli.main import app, _run
from escoita.training import validation as listening, trainer

name = sys.argv.pop(1)

def send(times):
    for _ in range(times):
        os.kill(os.getpid(), getattr(signal, name))

{when}

_run(app)
"""
IN_STEP = """
step = trainer.SpeechTrainer.training_step
def training_step(self, *args, **kwargs):
    if self.state.global_step == {step} and self.request.signum is None:
        send(1)
    return step(self, *args, **kwargs)
trainer.SpeechTrainer.training_step = training_step
"""
IN_VALIDATION = """
heard = listening.Listening._heard
def _heard(self, *args):
    _heard.times = getattr(_heard, "times", 0) + 1
    if _heard.times == {time}:
        send(1)
    return heard(self, *args)
listening.Listening._heard = _heard
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Train in this process with one thread, as the processes that are started do: the sums are then the same bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three steps an epoch, validation after each epoch; checkpoints, log and validation at different steps."""
    folder = tmp_path_factory.mktemp("interruption")
    clips = {"train": 20, "validation": 6}
    corpora = [
        f"corpora.{split}=[{{name: few, path: {write_manifest(folder / f'{split}.jsonl', split, count)}}}]"
        for split, count in clips.items()
    ]
    return [
        *corpora,
        "method.lora_dropout=0.1",
        "training.max_steps=-1",
        "training.num_train_epochs=2",
        "training.per_device_train_batch_size=4",
        "training.gradient_accumulation_steps=2",
        "training.logging_steps=2",
        "training.save_steps=4",
        "training.eval_strategy=epoch",
        "validation.clips=4",
        "eval.batch_seconds=4",
    ]


@pytest.fixture(scope="module")
def whole(short_recipe: Callable[..., Recipe], settings: list[str]) -> TrainingRecord:
    """The run that nothing interrupts."""
    record = train(short_recipe(*settings))
    assert record is not None
    return record


@pytest.fixture
def recipe(short_recipe: Callable[..., Recipe], settings: list[str], tmp_path: Path) -> Recipe:
    made = short_recipe(*settings)
    made.write(tmp_path / "recipe.yaml")
    return made


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a Python program in the checkout, in a process group of its own; kills what is left of it at the end."""
    started = []

    def run(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{path} was never there"
        time.sleep(0.01)


def finish(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=240)
    assert "Traceback" not in said, said
    return said


def ends_like(whole: TrainingRecord, record: TrainingRecord | None) -> None:
    assert record is not None
    assert record.adapter_sha256 == whole.adapter_sha256
    assert record.validation == whole.validation and record.kept_step == whole.kept_step
    assert record.steps == whole.steps and {point.step for point in record.loss} >= {
        point.step for point in whole.loss
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, when, step, due",
    [
        ("SIGTERM", IN_STEP.format(step=1), 2, False),
        ("SIGINT", IN_STEP.format(step=2), 3, True),
        ("SIGTERM", IN_VALIDATION.format(time=2), 3, True),
        ("SIGTERM", IN_STEP.format(step=5), 6, True),
        ("SIGTERM", IN_VALIDATION.format(time=3), 6, True),
    ],
    ids=["in an epoch", "at its end", "in its validation", "in the last step", "in the last validation"],
)
def test_a_signal_ends_the_step_and_the_run_resumes_as_if_there_was_none(
    recipe: Recipe, whole: TrainingRecord, start: Start, tmp_path: Path, name: str, when: str, step: int, due: bool
) -> None:
    run = RunDirectory(recipe.run_path)
    said = finish(process := start("-c", SIGNALLED.format(when=when), name, "train", str(tmp_path / "recipe.yaml")))
    assert process.returncode == 128 + getattr(signal, name)
    assert said.splitlines()[-1] == f"escoita: stopped at step {step}; run the same command to resume"
    found = checkpoints_by_step(run.checkpoints)
    assert max(found) == step and not damage(found[step])
    assert ('"due": true' in (found[step] / "trainer_state.json").read_text()) is due
    assert not run.training.exists() and not run.adapter.exists()
    assert not (run.checkpoints / "unfinished").exists()
    resumed = train(recipe)
    ends_like(whole, resumed)
    assert resumed is not None and resumed.sessions == 2


@pytest.mark.slow
def test_a_signal_before_the_first_step_leaves_nothing_to_resume(recipe: Recipe, start: Start, tmp_path: Path) -> None:
    when = IN_VALIDATION.format(time=1)
    process = start("-c", SIGNALLED.format(when=when), "SIGTERM", "train", str(tmp_path / "recipe.yaml"))
    assert "stopped at step 0; run the same command to resume" in finish(process) and process.returncode == 143
    assert not checkpoints_by_step(RunDirectory(recipe.run_path).checkpoints)


@pytest.mark.slow
def test_a_signal_before_the_first_step_of_a_resumed_run_takes_none(
    recipe: Recipe, whole: TrainingRecord, start: Start, tmp_path: Path
) -> None:
    run = RunDirectory(recipe.run_path)
    for when in (IN_STEP.format(step=1), BEFORE_STEPS):
        process = start("-c", SIGNALLED.format(when=when), "SIGTERM", "train", str(tmp_path / "recipe.yaml"))
        assert "stopped at step 2; run the same command to resume" in finish(process) and process.returncode == 143
        assert list(checkpoints_by_step(run.checkpoints)) == [2]
    ends_like(whole, train(recipe))


BEFORE_STEPS = """
load = trainer.SpeechTrainer.get_train_dataloader
def get_train_dataloader(self):
    if self.args.max_steps != 1:  # the trial takes one step
        send(1)
    return load(self)
trainer.SpeechTrainer.get_train_dataloader = get_train_dataloader
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_signal_to_all_processes_of_a_run_stops_it_after_a_step(
    recipe: Recipe, start: Start, tmp_path: Path, workers: int
) -> None:
    """As a terminal sends SIGINT, and SLURM or `timeout` SIGTERM, at once to the workers that read clips."""
    run, more = RunDirectory(recipe.run_path), ("--set", "training.num_train_epochs=100")
    workers_of = ("--set", f"training.dataloader_num_workers={workers}")
    process = start("training/sft.py", "--recipe", str(tmp_path / "recipe.yaml"), *more, *workers_of)
    wait_for(run.checkpoints / "checkpoint-4/manifest.json", process)
    os.killpg(process.pid, signal.SIGTERM)
    os.killpg(process.pid, signal.SIGTERM)  # the same request
    said = finish(process)
    assert process.returncode == 143 and "stopped at step" in said.splitlines()[-1]
    found = checkpoints_by_step(run.checkpoints)
    assert not damage(found[max(found)])


@pytest.mark.slow
def test_a_second_signal_stops_at_once(recipe: Recipe, start: Start, tmp_path: Path) -> None:
    slow = IN_STEP.format(step=1).replace("send(1)", "send(1)\n        import time; time.sleep(100)")
    process = start("-c", SIGNALLED.format(when=slow), "SIGTERM", "train", str(tmp_path / "recipe.yaml"))
    assert process.stderr is not None
    for line in process.stderr:
        if "another signal stops at once" in line:
            break
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert not checkpoints_by_step(RunDirectory(recipe.run_path).checkpoints)


@pytest.mark.slow
def test_processes_agree_on_the_step(recipe: Recipe, start: Start, tmp_path: Path) -> None:
    """The signal reaches one process alone; both stop after the same step, and resume from it."""
    half = ("--set", "training.per_device_train_batch_size=2")
    one = IN_STEP.format(step=2).replace("if self", "if self.args.process_index == 1 and self")
    (tmp_path / "signalled.py").write_text(SIGNALLED.format(when=one).replace("_run(app)", ONE_COMMAND))
    script = [*TORCHRUN[:-1], str(tmp_path / "signalled.py"), "SIGTERM"]
    said = finish_torchrun(start(*script, "--recipe", str(tmp_path / "recipe.yaml"), *half))
    assert "escoita: stopped at step 3; run the same command to resume" in said
    run = RunDirectory(recipe.run_path)
    found = checkpoints_by_step(run.checkpoints)
    assert list(found) == [3] and not damage(found[3])
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in found[3].iterdir()}
    process = start(*TORCHRUN, "--recipe", str(tmp_path / "recipe.yaml"), *half)
    assert "Resuming from" in finish(process) and process.returncode == 0
    assert TrainingRecord.read(run.training).sessions == 2


ONE_COMMAND = """
import runpy
runpy.run_path("training/sft.py", run_name="__main__")
"""


@pytest.mark.slow
def test_torchrun_passes_the_signal_on(recipe: Recipe, start: Start, tmp_path: Path) -> None:
    run, more = RunDirectory(recipe.run_path), ("--set", "training.num_train_epochs=100")
    half = ("--set", "training.per_device_train_batch_size=2", "--set", "training.dataloader_num_workers=1")
    process = start(*TORCHRUN, "--recipe", str(tmp_path / "recipe.yaml"), *half, *more)
    wait_for(run.checkpoints / "checkpoint-4/manifest.json", process)
    process.send_signal(signal.SIGTERM)
    said = finish_torchrun(process)
    assert said.count("escoita: stopped at step") == 1
    found = checkpoints_by_step(run.checkpoints)
    assert not damage(found[max(found)])


def finish_torchrun(process: subprocess.Popen[str]) -> str:
    """What the processes said; torchrun itself shows a traceback when it is stopped, and ends with another status."""
    _, said = process.communicate(timeout=240)
    assert process.returncode != 0
    return said


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 2])
def test_a_run_that_was_killed_after_its_last_checkpoint_saves_its_adapter_from_it(
    short_recipe: Callable[..., Recipe], settings: list[str], whole: TrainingRecord, limit: int
) -> None:
    recipe = short_recipe(*settings, f"training.save_total_limit={limit}")
    run = RunDirectory(recipe.run_path)
    first = train(recipe)
    assert list(checkpoints_by_step(run.checkpoints)) == [4, 6]
    killed(run)
    resumed = train(recipe)
    assert first is not None and resumed is not None
    assert (resumed.adapter_sha256, resumed.steps) == (first.adapter_sha256, 6)
    assert resumed.loss == first.loss == whole.loss
    # The newest damaged: the one before is used, and writes the newest again.
    killed(run)
    (run.checkpoints / "checkpoint-6/optimizer.pt").write_bytes(b"\0" * 100)
    again = train(recipe)
    assert again is not None and again.adapter_sha256 == first.adapter_sha256 and again.loss == first.loss
    assert not damage(run.checkpoints / "checkpoint-6")
    # All damaged: refused, unless it is to start over.
    killed(run)
    for checkpoint in checkpoints_by_step(run.checkpoints).values():
        (checkpoint / "adapter_model.safetensors").unlink()
    with pytest.raises(TrainingError, match="--restart"):
        train(recipe)
    over = train(recipe, restart=True)
    assert over is not None and over.sessions == 1 and over.adapter_sha256 == first.adapter_sha256


def killed(run: RunDirectory) -> None:
    """As a kill after the last checkpoint leaves a run, where validation kept no better adapter elsewhere."""
    kept = TrainingRecord.read(run.training).kept_step
    run.training.unlink()
    run.best.mkdir()
    weights = run.best / f"step-{kept}"
    run.adapter.rename(weights)
    for path in weights.iterdir():
        if path.name not in ("adapter_model.safetensors", "adapter_config.json"):
            path.unlink()
    assert load_file(weights / "adapter_model.safetensors")


@pytest.mark.slow
def test_a_finished_run_is_trained_again_only_when_asked(
    quickstart_run: Path, short_recipe: Callable[..., Recipe]
) -> None:
    recipe = short_recipe()
    run = RunDirectory(recipe.run_path)
    train(recipe)
    before = run.training.stat().st_mtime_ns
    train(recipe)
    assert run.training.stat().st_mtime_ns == before
    changed = short_recipe(f"run_dir={run.path}", "training.max_steps=2")
    with pytest.raises(TrainingError):
        train(changed)
    record = train(changed, restart=True)
    assert record is not None and record.steps == 2 and list(checkpoints_by_step(run.checkpoints)) == [2]
    assert TrainingRecord.read(run.training) == record
