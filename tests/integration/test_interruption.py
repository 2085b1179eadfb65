"""Test that interrupted runs, and runs with damaged checkpoints, have the result of an uninterrupted one."""

import os
import re
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
from escoita.training.checkpointing import ChangedRecipeError, checkpoints_by_step, damage
from escoita.training.sft import train
from tests.conftest import ROOT, write_manifest


Start = Callable[..., subprocess.Popen[str]]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "training/sft.py")
# A script that sends its own process a signal during a training.
SIGNALLED = """
import os, signal, sys
import torch
from escoita.cli.main import app, _run
from escoita.training import trainer, validation

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
transcribe = validation.ValidationSet._transcribe
def _transcribe(self, *args):
    _transcribe.times = getattr(_transcribe, "times", 0) + 1
    if _transcribe.times == {time}:
        send(1)
    return transcribe(self, *args)
validation.ValidationSet._transcribe = _transcribe
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Train in this process with one thread, like the started processes, so that sums have the same bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return overrides with three steps per epoch, and checkpoints, log and validation at different steps."""
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
def uninterrupted(short_recipe: Callable[..., Recipe], settings: list[str]) -> TrainingRecord:
    """Return the record of an uninterrupted run."""
    record = train(short_recipe(*settings))
    assert record is not None
    return record


@pytest.fixture
def recipe(short_recipe: Callable[..., Recipe], settings: list[str], tmp_path: Path) -> Recipe:
    recipe = short_recipe(*settings)
    recipe.write(tmp_path / "recipe.yaml")
    return recipe


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start Python programs in the checkout, each in its own process group, and kill them at the end."""
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
        assert process.poll() is None and time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.01)


def finish(process: subprocess.Popen[str]) -> str:
    _, output = process.communicate(timeout=240)
    assert "Traceback" not in output, output
    return output


def assert_same_result(uninterrupted: TrainingRecord, record: TrainingRecord | None) -> None:
    assert record is not None
    assert record.adapter_sha256 == uninterrupted.adapter_sha256
    assert record.validation == uninterrupted.validation and record.kept_step == uninterrupted.kept_step
    assert record.steps == uninterrupted.steps and {point.step for point in record.loss} >= {
        point.step for point in uninterrupted.loss
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
    ids=["in an epoch", "at the end of an epoch", "in its validation", "in the last step", "in the last validation"],
)
def test_a_signal_stops_after_the_step_and_the_run_resumes(
    recipe: Recipe,
    uninterrupted: TrainingRecord,
    start: Start,
    tmp_path: Path,
    name: str,
    when: str,
    step: int,
    due: bool,
) -> None:
    run = RunDirectory(recipe.run_path)
    process = start("-c", SIGNALLED.format(when=when), name, "train", str(tmp_path / "recipe.yaml"))
    output = finish(process)
    assert process.returncode == 128 + getattr(signal, name)
    assert f"step {step};" in output.splitlines()[-1]
    found = checkpoints_by_step(run.checkpoints)
    assert max(found) == step and not damage(found[step])
    assert ('"due": true' in (found[step] / "trainer_state.json").read_text()) is due
    assert not run.training.exists() and not run.adapter.exists()
    assert not (run.checkpoints / "unfinished").exists()
    resumed = train(recipe)
    assert_same_result(uninterrupted, resumed)
    assert resumed is not None and resumed.sessions == 2


@pytest.mark.slow
def test_a_signal_before_the_first_step_writes_no_checkpoint(recipe: Recipe, start: Start, tmp_path: Path) -> None:
    when = IN_VALIDATION.format(time=1)
    process = start("-c", SIGNALLED.format(when=when), "SIGTERM", "train", str(tmp_path / "recipe.yaml"))
    assert "step 0;" in finish(process) and process.returncode == 143
    assert not checkpoints_by_step(RunDirectory(recipe.run_path).checkpoints)


@pytest.mark.slow
def test_a_signal_before_the_first_step_of_a_resumed_run_stops_it(
    recipe: Recipe, uninterrupted: TrainingRecord, start: Start, tmp_path: Path
) -> None:
    run = RunDirectory(recipe.run_path)
    for when in (IN_STEP.format(step=1), BEFORE_STEPS):
        process = start("-c", SIGNALLED.format(when=when), "SIGTERM", "train", str(tmp_path / "recipe.yaml"))
        assert "step 2;" in finish(process) and process.returncode == 143
        assert list(checkpoints_by_step(run.checkpoints)) == [2]
    assert_same_result(uninterrupted, train(recipe))


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
    """A terminal sends SIGINT, and SLURM or `timeout` SIGTERM, also to the workers that read clips."""
    run, more = RunDirectory(recipe.run_path), ("--set", "training.num_train_epochs=100")
    workers_of = ("--set", f"training.dataloader_num_workers={workers}")
    process = start("training/sft.py", "--recipe", str(tmp_path / "recipe.yaml"), *more, *workers_of)
    wait_for(run.checkpoints / "checkpoint-4/manifest.json", process)
    os.killpg(process.pid, signal.SIGTERM)
    os.killpg(process.pid, signal.SIGTERM)  # the same request
    output = finish(process)
    assert process.returncode == 143 and re.search(r"step \d+;", output.splitlines()[-1])
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
    """The signal reaches only one process; both stop after the same step, and resume from it."""
    half = ("--set", "training.per_device_train_batch_size=2")
    one = IN_STEP.format(step=2).replace("if self", "if self.args.process_index == 1 and self")
    (tmp_path / "signalled.py").write_text(SIGNALLED.format(when=one).replace("_run(app)", ONE_COMMAND))
    script = [*TORCHRUN[:-1], str(tmp_path / "signalled.py"), "SIGTERM"]
    assert "step 3;" in finish_torchrun(start(*script, "--recipe", str(tmp_path / "recipe.yaml"), *half))
    run = RunDirectory(recipe.run_path)
    found = checkpoints_by_step(run.checkpoints)
    assert list(found) == [3] and not damage(found[3])
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in found[3].iterdir()}
    process = start(*TORCHRUN, "--recipe", str(tmp_path / "recipe.yaml"), *half)
    assert str(found[3]) in finish(process) and process.returncode == 0
    assert TrainingRecord.read(run.training).sessions == 2


ONE_COMMAND = """
import runpy
runpy.run_path("training/sft.py", run_name="__main__")
"""


@pytest.mark.slow
def test_torchrun_forwards_the_signal(recipe: Recipe, start: Start, tmp_path: Path) -> None:
    run, more = RunDirectory(recipe.run_path), ("--set", "training.num_train_epochs=100")
    half = ("--set", "training.per_device_train_batch_size=2", "--set", "training.dataloader_num_workers=1")
    process = start(*TORCHRUN, "--recipe", str(tmp_path / "recipe.yaml"), *half, *more)
    wait_for(run.checkpoints / "checkpoint-4/manifest.json", process)
    process.send_signal(signal.SIGTERM)
    output = finish_torchrun(process)
    assert len(re.findall(r"escoita: .*step \d+;", output)) == 1
    found = checkpoints_by_step(run.checkpoints)
    assert not damage(found[max(found)])


def finish_torchrun(process: subprocess.Popen[str]) -> str:
    """Return the output; torchrun itself prints a traceback when it is stopped, and exits with another status."""
    _, output = process.communicate(timeout=240)
    assert process.returncode != 0
    return output


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 2])
def test_the_adapter_is_saved_from_the_last_checkpoint(
    short_recipe: Callable[..., Recipe], settings: list[str], uninterrupted: TrainingRecord, limit: int
) -> None:
    recipe = short_recipe(*settings, f"training.save_total_limit={limit}")
    run = RunDirectory(recipe.run_path)
    first = train(recipe)
    assert list(checkpoints_by_step(run.checkpoints)) == [4, 6]
    killed(run)
    resumed = train(recipe)
    assert first is not None and resumed is not None
    assert (resumed.adapter_sha256, resumed.steps) == (first.adapter_sha256, 6)
    assert resumed.loss == first.loss == uninterrupted.loss
    # If the newest checkpoint is damaged, the one before is used, and the newest is written again.
    killed(run)
    (run.checkpoints / "checkpoint-6/optimizer.pt").write_bytes(b"\0" * 100)
    again = train(recipe)
    assert again is not None and again.adapter_sha256 == first.adapter_sha256 and again.loss == first.loss
    assert not damage(run.checkpoints / "checkpoint-6")
    # If all are damaged, the run is refused without a restart.
    killed(run)
    for checkpoint in checkpoints_by_step(run.checkpoints).values():
        (checkpoint / "adapter_model.safetensors").unlink()
    with pytest.raises(TrainingError) as error:
        train(recipe)
    assert error.value.path == run.checkpoints / "checkpoint-6"
    restarted = train(recipe, restart=True)
    assert restarted is not None and restarted.sessions == 1 and restarted.adapter_sha256 == first.adapter_sha256


def killed(run: RunDirectory) -> None:
    """Change a finished run into one that was killed after its last checkpoint."""
    step = TrainingRecord.read(run.training).kept_step
    run.training.unlink()
    run.best.mkdir()
    weights = run.best / f"step-{step}"
    run.adapter.rename(weights)
    for path in weights.iterdir():
        if path.name not in ("adapter_model.safetensors", "adapter_config.json"):
            path.unlink()
    assert load_file(weights / "adapter_model.safetensors")


@pytest.mark.slow
def test_a_finished_run_is_trained_again_only_with_restart(
    quickstart_run: Path, short_recipe: Callable[..., Recipe]
) -> None:
    recipe = short_recipe()
    run = RunDirectory(recipe.run_path)
    train(recipe)
    before = run.training.stat().st_mtime_ns
    train(recipe)
    assert run.training.stat().st_mtime_ns == before
    changed = short_recipe(f"run_dir={run.path}", "training.max_steps=2")
    with pytest.raises(ChangedRecipeError):
        train(changed)
    record = train(changed, restart=True)
    assert record is not None and record.steps == 2 and list(checkpoints_by_step(run.checkpoints)) == [2]
    assert TrainingRecord.read(run.training) == record
