"""The adapter that heard best, kept while training goes on, and the end of training that hears no better."""

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from escoita.utils.files import sync_files
from escoita.utils.processes import gathered
from escoita.utils.progress import say
from escoita.run_directory import RunDirectory
from escoita.training.checkpoints import checkpoints_by_step, written_whole


class BestAdapter(TrainerCallback, ExportableState):
    """
    Keeps the adapter of the lowest WER in `best/step-N/` of the run; of equals that of lower CER, then of lower loss.

    What it knows travels in the checkpoints. A folder stays as long as a checkpoint speaks of it, so that whichever
    checkpoint a killed run goes on from, the adapter that it speaks of is there.

    Args:
        patience (`int`, *optional*): Training stops after so many evaluations that did not lower the WER.
    """

    def __init__(self, patience: int | None = None):
        self.patience = patience
        self.step: int | None = None
        self.rates: list[float] = []  # WER, CER and loss at that step
        self.in_vain = 0  # evaluations since the WER was lowered
        self.evaluated: int | None = None  # the last step that was
        self.trained = False  # a step was taken whose learning rate is not 0, as that of the first of a warm-up is

    def state(self) -> dict[str, Any]:
        """As it is written into a checkpoint."""
        known = ("step", "rates", "in_vain", "evaluated", "trained")
        return {"args": {"patience": self.patience}, "attributes": {name: getattr(self, name) for name in known}}

    @property
    def out_of_patience(self) -> bool:
        return self.patience is not None and self.in_vain >= self.patience

    def weights(self, args: Any) -> Path | None:
        """The folder of the best adapter so far; none when nothing was heard."""
        return None if self.step is None else best_folder(args) / f"step-{self.step}"

    def forget(self) -> None:
        """Looks for the best adapter among the steps that follow alone."""
        self.step, self.rates, self.in_vain = None, [], 0

    def on_train_begin(self, args, state, control, **kwargs):
        """Begins anew where somebody removed the adapter that a checkpoint speaks of."""
        kept = self.weights(args)
        if kept is not None and not gathered(kept.is_dir(), PartialState())[0]:
            say(f"{kept} is gone; the best adapter is looked for among the steps that follow")
            self.forget()
        if self.out_of_patience:  # before the run was killed
            control.should_training_stop = True

    def on_optimizer_step(self, args, state, control, optimizer, **kwargs):
        """Learns whether the adapter is still the base, as it is after a step that the scaler of fp16 skipped."""
        taken = any(group["lr"] > 0 for group in optimizer.param_groups) and not optimizer.step_was_skipped
        self.trained = self.trained or taken

    def on_step_end(self, args, state, control, **kwargs):
        """Lets the end of an epoch be heard before a checkpoint of this step is written, which then knows of it."""
        ends = state.epoch.is_integer() or state.global_step >= state.max_steps
        if args.eval_strategy == "epoch" and ends and state.epoch >= args.eval_delay:
            control.should_evaluate = True

    def on_epoch_end(self, args, state, control, **kwargs):
        """Lets the last step be heard whatever the interval, and none twice."""
        last = state.global_step >= state.max_steps or control.should_training_stop
        if args.eval_strategy != "no" and last:
            control.should_evaluate = True
        if self.evaluated == state.global_step:
            control.should_evaluate = False
        if self.out_of_patience:  # the last checkpoint, from which the adapter is saved if the run is killed now
            control.should_save = control.should_log = args.save_strategy != "no"

    def on_evaluate(self, args, state, control, metrics, model, **kwargs):
        self.evaluated = state.global_step
        if not self.trained or "eval_wer" not in metrics:
            return
        rates = [metrics["eval_wer"], metrics["eval_cer"], metrics["eval_loss"]]
        lowered = not self.rates or rates[0] < self.rates[0]
        self.in_vain = 0 if lowered else self.in_vain + 1
        if lowered or rates < self.rates:
            self.step, self.rates = state.global_step, rates
            if state.is_world_process_zero:
                save_weights(model, best_folder(args) / f"step-{self.step}")
        if self.out_of_patience and state.global_step < state.max_steps:
            many = "s" if self.in_vain > 1 else ""
            say(f"Stopping after step {self.evaluated}: {self.in_vain} evaluation{many} did not lower the WER")
            control.should_training_stop = True
            control.should_save = False  # at the end of the epoch, which comes next

    def on_save(self, args, state, control, **kwargs):
        """Removes what the checkpoint that was just written does not speak of."""
        if state.is_world_process_zero and state.global_step < state.max_steps:
            kept = {self.weights(args), *best_of_checkpoints(args)}
            for folder in best_folder(args).glob("*"):
                if folder not in kept:
                    shutil.rmtree(folder, ignore_errors=True)

    def on_train_end(self, args, state, control, **kwargs):
        stopped = state.global_step < state.max_steps and not self.out_of_patience  # by a signal
        if self.step is None or stopped:
            return
        say(f"Kept the adapter of step {self.step} (WER {self.rates[0]:.3f})")
        base = next((entry.get("eval_wer") for entry in state.log_history if entry["step"] == 0), None)
        if base is not None and self.rates[0] >= base:
            say(f"No adapter heard the validation clips better than the base did (WER {base:.3f})")


def best_of(trainer: Any) -> BestAdapter:
    """The callback of a trainer: not the one that went in, in whose place a checkpoint puts its own."""
    return next(callback for callback in trainer.callback_handler.callbacks if isinstance(callback, BestAdapter))


def best_folder(args: Any) -> Path:
    """Where the run of these arguments keeps its best adapters; not a path of a checkpoint, as a run may be moved."""
    return RunDirectory(Path(args.output_dir).parent).best


def best_of_checkpoints(args: Any) -> set[Path]:
    """The folders of the best adapters that the checkpoints of a run speak of."""
    steps = set()
    for checkpoint in checkpoints_by_step(Path(args.output_dir)).values():
        try:
            callbacks = json.loads((checkpoint / "trainer_state.json").read_bytes())["stateful_callbacks"]
            steps.add(callbacks[BestAdapter.__name__]["attributes"]["step"])
        except (OSError, ValueError, KeyError):  # a damaged one, of which nothing is kept
            continue
    return {best_folder(args) / f"step-{step}" for step in steps}


def save_weights(model: Any, folder: Path, weights: dict[str, Any] | None = None) -> None:
    """
    Writes adapter weights and configuration alone, whole or not at all.

    The README that PEFT writes beside an adapter is dropped: it names a local path as base.

    Args:
        model: With its adapter.
        folder (`Path`): Where to.
        weights (`dict[str, Any]`, *optional*): Of the adapter, where the model holds but a share of them.
    """
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    # Unless told, PEFT asks the Hub for the base's configuration, each time, to see if its vocabulary has grown.
    options = {"save_embedding_layers": False} | ({"state_dict": weights} if weights else {})
    with written_whole(unfinished):
        model.save_pretrained(unfinished, **options)
        sync_files(unfinished)
    (unfinished / "README.md").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
