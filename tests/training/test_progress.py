import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from transformers import PrinterCallback, ProgressCallback

from escoita.training.progress import TrainingProgress, close_progress, show_progress


def state(step: int, **changes: Any) -> Any:
    known = {"global_step": step, "max_steps": 100, "epoch": step / 50, "is_world_process_zero": True}
    return SimpleNamespace(**known | {"log_history": []} | changes)


def evaluation(wer: float, cer: float = 0.1, loss: float = 1.0) -> dict[str, float]:
    return {"eval_wer": wer, "eval_cer": cer, "eval_loss": loss}


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Console:
    console = Console(file=io.StringIO(), force_terminal=False, width=120)
    monkeypatch.setattr("escoita.utils.processes.console", console)
    return console


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def run(progress: TrainingProgress, first: Any = None) -> None:
    progress.on_train_begin(None, first or state(0), None)
    for step, wer in ((10, 0.5), (20, 0.6), (30, 0.4)):
        progress.on_step_end(None, state(step), None)
        progress.on_log(None, state(step), None, logs={"loss": 2.0, "learning_rate": 1e-3})
        progress.on_log(None, state(step), None, logs=evaluation(wer))
        progress.on_evaluate(None, state(step), None, metrics=evaluation(wer))
    progress.on_log(None, state(30), None, logs={"train_runtime": 1.0})
    progress.on_train_end(None, state(30), None)


def test_one_line_per_entry_without_a_terminal(console: Console) -> None:
    run(TrainingProgress(console=console))
    rows = lines(console)
    assert len(rows) == 7
    assert [row.split(":")[0] for row in rows if row.startswith("Step")] == [f"Step {n} of 100" for n in (10, 20, 30)]
    assert [row.split()[:5] for row in rows if row.split()[0].isdigit()] == [
        ["10", "0.20", "1.0000", "0.5000", "0.1000"],
        ["20", "0.40", "1.0000", "0.6000", "0.1000"],
        ["30", "0.60", "1.0000", "0.4000", "0.1000"],
    ]
    assert [row.split()[0] for row in rows if "best" in row] == ["10", "30"]


def test_the_best_evaluation_of_a_checkpoint_is_known(console: Console) -> None:
    history = [evaluation(0.1) | {"step": 0}, {"loss": 3.0, "step": 2}, evaluation(0.45) | {"step": 4}]
    run(TrainingProgress(console=console), state(5, log_history=history))
    assert [row.split()[0] for row in lines(console) if "best" in row] == ["30"]


def test_a_terminal_shows_a_bar_and_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=140)
    monkeypatch.setattr("escoita.utils.processes.console", console)
    run(TrainingProgress(console=console))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "30/100" in text and "best WER 0.400" in text and "0.6000" in text and "Step 10" not in text


def test_json_lines(capsys: pytest.CaptureFixture[str], console: Console) -> None:
    run(TrainingProgress(json_logs=True, console=console))
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["event"], row["step"]) for row in rows] == [
        (event, step) for step in (10, 20, 30) for event in ("log", "evaluation")
    ]
    assert rows[0]["loss"] == 2.0 and rows[1]["eval_wer"] == 0.5 and rows[0]["max_steps"] == 100
    assert not lines(console)


def test_other_processes_print_nothing(capsys: pytest.CaptureFixture[str], console: Console) -> None:
    progress = TrainingProgress(json_logs=True, console=console)
    progress.on_log(None, state(1, is_world_process_zero=False), None, logs={"loss": 1.0})
    progress.on_evaluate(None, state(1, is_world_process_zero=False), None, metrics=evaluation(0.1))
    assert capsys.readouterr().out == "" and not lines(console) and progress.best is not None


def test_the_base_is_not_the_best_adapter(console: Console) -> None:
    progress = TrainingProgress(console=console)
    progress.on_evaluate(None, state(0), None, metrics=evaluation(0.2))
    progress.on_evaluate(None, state(10), None, metrics=evaluation(0.3))
    assert [row.split()[-1] for row in lines(console)[1:]] == ["base", "far"] and progress.best == (0.3, 0.1, 1.0)


class StoppedTrainer:
    """Store callbacks as Trainer does."""

    def __init__(self) -> None:
        self.callback_handler = SimpleNamespace(callbacks=[PrinterCallback(), ProgressCallback()])

    def remove_callback(self, kind: type) -> None:
        kept = [each for each in self.callback_handler.callbacks if not isinstance(each, kind)]
        self.callback_handler.callbacks = kept

    def add_callback(self, callback: Any) -> None:
        self.callback_handler.callbacks.append(callback)


def test_the_bar_is_closed_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=140)
    monkeypatch.setattr("escoita.utils.processes.console", console)
    trainer = StoppedTrainer()
    show_progress(trainer)
    (progress,) = trainer.callback_handler.callbacks
    progress.on_train_begin(None, state(0), None)
    close_progress(trainer)
    close_progress(trainer)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().count("\x1b[?25h") == 1  # the cursor is shown again


def test_an_evaluation_without_wer(console: Console) -> None:
    progress = TrainingProgress(console=console)
    progress.on_evaluate(None, state(1), None, metrics={"eval_loss": 1.5})
    assert lines(console)[-1].split() == ["1", "0.02", "1.5000", "–", "–"] and progress.best is None
