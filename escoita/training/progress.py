"""Show the progress of a training: a bar and a table on a terminal, else one line per log entry, or JSON lines."""

import json
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback

from escoita.metrics.primary import metric_name, metrics_by_rank
from escoita.records.evaluation import Metric
from escoita.utils import processes
from escoita.utils.formatting import duration


# The titles of the table of evaluations, with the width of each column.
COLUMNS = {"step": 7, "epoch": 7, "loss": 9}
RATE_WIDTH = 8


class TrainingProgress(TrainerCallback):
    """
    Show steps, loss and the results of evaluations in place of Transformers' bar and dictionaries.

    Args:
        json_logs (`bool`, *optional*, defaults to `False`): Whether to print one JSON object per log entry and
            evaluation on the standard output, instead of text on the standard error.
        console (`Console`, *optional*): The console of the text; that of all messages by default.
        primary (`str`, *optional*, defaults to `"wer"`): The primary metric, which is the first in the table.
    """

    def __init__(self, json_logs: bool = False, console: Console | None = None, primary: Metric = "wer"):
        self.json_logs = json_logs
        self.metrics = metrics_by_rank(primary)
        self.columns = COLUMNS | {metric_name(metric): RATE_WIDTH for metric in self.metrics}
        self.console = console or processes.console
        self.best: tuple[float, ...] | None = None  # the primary rate, the other rate and the loss
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._header_printed = False
        self._first_step = 0
        self._started = 0.0

    def on_train_begin(self, args, state, control, **kwargs):
        self._first_step, self._started = state.global_step, time.perf_counter()
        for entry in state.log_history:  # of the checkpoint from which the run resumes
            if entry.get("step"):
                self._is_best(entry)
        if not state.is_world_process_zero or self.json_logs or not self.console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("steps {task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task("Training", total=state.max_steps, completed=state.global_step, figures="")
        self._bar.start()

    def on_step_end(self, args, state, control, **kwargs):
        if self._bar:
            self._bar.update(self._task, completed=state.global_step)

    def on_prediction_step(self, args, state, control, **kwargs):
        if self._bar:
            self._bar.update(self._task, description="Validating")

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return  # the results of an evaluation, or the totals at the end
        if self.json_logs:
            self._print_json("log", state, logs)
        elif self._bar:
            best = f" best {metric_name(self.metrics[0])} {self.best[0]:.3f}" if self.best else ""
            self._bar.update(self._task, figures=f"loss {logs['loss']:.4g}{best}")
        else:
            line = f"Step {state.global_step} of {state.max_steps}: loss {logs['loss']:.4g}"
            if "learning_rate" in logs:
                line += f", learning rate {logs['learning_rate']:.2g}"
            processes.say(f"{line}{self._time_left(state)}")

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        before = self.best
        note = "  base" if state.global_step == 0 else ""
        if state.global_step > 0 and self._is_best(metrics):
            note = "  best so far"
            if before and self.best and before[0] == self.best[0]:
                names = [*map(metric_name, self.metrics), "loss"]
                lower = next(name for name, old, new in zip(names, before, self.best, strict=True) if old != new)
                note += f" (equal {names[0]}, lower {lower})"
        if self._bar:
            self._bar.update(self._task, description="Training")
        if not state.is_world_process_zero:
            return
        if self.json_logs:
            self._print_json("evaluation", state, metrics)
            return
        if not self._header_printed:
            self._print_row(list(self.columns))
            self._header_printed = True
        figures = [metrics.get(f"eval_{key}") for key in ("loss", *self.metrics)]
        row = [str(state.global_step), f"{state.epoch or 0:.2f}"]
        row += ["–" if figure is None else f"{figure:.4f}" for figure in figures]
        self._print_row(row, note)
        if self._bar and self.best:
            fields = self._bar.tasks[self._task].fields["figures"].split(" best")[0]
            self._bar.update(self._task, figures=f"{fields} best {metric_name(self.metrics[0])} {self.best[0]:.3f}")

    def on_train_end(self, args, state, control, **kwargs):
        self.close()

    def close(self) -> None:
        """Remove the bar; also after a training that failed."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _is_best(self, metrics: dict[str, float]) -> bool:
        """Return whether an evaluation is the best so far, by the primary rate first, and remember it."""
        if "eval_wer" not in metrics:
            return False
        rates = tuple(metrics.get(f"eval_{key}", 0.0) for key in (*self.metrics, "loss"))
        if self.best is not None and rates >= self.best:
            return False
        self.best = rates
        return True

    def _print_row(self, cells: list[str], note: str = "") -> None:
        cells = [cell.rjust(width) for cell, width in zip(cells, self.columns.values(), strict=True)]
        processes.say(f"{''.join(cells)}{note}")

    def _time_left(self, state: Any) -> str:
        taken, left = state.global_step - self._first_step, state.max_steps - state.global_step
        if taken <= 0 or left <= 0:
            return ""
        return f", {duration((time.perf_counter() - self._started) / taken * left)} left"

    def _print_json(self, event: str, state: Any, figures: dict[str, Any]) -> None:
        place = {"event": event, "step": state.global_step, "max_steps": state.max_steps, "epoch": state.epoch}
        print(json.dumps(place | figures), flush=True)


def show_progress(trainer: Any, json_logs: bool = False, primary: Metric = "wer") -> None:
    """
    Replace the callbacks of Transformers that print by [`TrainingProgress`].

    Args:
        trainer (`Trainer`): The trainer, before it takes steps.
        json_logs (`bool`, *optional*, defaults to `False`): The same as for [`TrainingProgress`].
        primary (`str`, *optional*, defaults to `"wer"`): The primary metric.
    """
    remove_printers(trainer)
    trainer.add_callback(TrainingProgress(json_logs, primary=primary))


def close_progress(trainer: Any) -> None:
    """Remove the bar of a trainer; also after a training that failed or was interrupted."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TrainingProgress):
            callback.close()


def remove_printers(trainer: Any) -> None:
    """Remove the callbacks of Transformers that print, also the one for notebooks."""
    from transformers import PrinterCallback, ProgressCallback
    from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

    for callback in (PrinterCallback, ProgressCallback, DEFAULT_PROGRESS_CALLBACK):
        trainer.remove_callback(callback)
