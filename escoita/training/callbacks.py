"""Callbacks: energy, throughput, experiment trackers, and the best adapter with early stopping."""

import importlib.util
import json
import math
import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations
from transformers.trainer_callback import ExportableState

from escoita.errors import RecipeError
from escoita.records.training import Throughput
from escoita.run_directory import RunDirectory
from escoita.training.checkpointing import checkpoints_by_step, written_whole
from escoita.utils.files import sync_files
from escoita.utils.processes import gathered, say


class EnergyMeter(TrainerCallback, ExportableState):
    """
    Joules of the GPUs from the first step to the last, over all sessions; travels inside the checkpoints.

    Args:
        joules (`float`, *optional*, defaults to 0): Of earlier sessions; none where one of them was not measured, as
            the sum would then be too small.
    """

    def __init__(self, joules: float | None = 0.0):
        self.earlier = joules
        self.started: float | None = None

    @property
    def joules(self) -> float | None:
        """Taken so far; none where it was not measured."""
        now = gpu_joules()
        if self.earlier is None or self.started is None or now is None:
            return None
        return self.earlier + now - self.started

    def on_train_begin(self, args, state, control, **kwargs):
        self.started = gpu_joules()

    def state(self) -> dict[str, Any]:
        """As it is written into a checkpoint."""
        return {"args": {"joules": self.joules}, "attributes": {}}


def gpu_joules() -> float | None:
    """
    What the GPUs that this training runs on have taken since their driver was loaded, by NVML's counter; other
    programs on them count too.

    Returns:
        `float`: In joules; none without a GPU, without `nvidia-ml-py`, for GPUs before Volta, which do not count, and
            where processes of several machines train together, as no machine sees the others' GPUs.
    """
    import torch

    processes = int(os.environ.get("WORLD_SIZE", 1))
    if not torch.cuda.is_available() or processes != int(os.environ.get("LOCAL_WORLD_SIZE", processes)):
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        # By their ids, as NVML knows nothing of CUDA_VISIBLE_DEVICES, and counts in another order.
        names = [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in _indices(processes)]
        handles = [pynvml.nvmlDeviceGetHandleByUUID(name) for name in names]
        return sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles) / 1000
    except pynvml.NVMLError:
        return None


def _indices(processes: int) -> list[int]:
    """One GPU each; a process alone has the one that torch runs it on."""
    import torch

    return list(range(processes)) if processes > 1 else [torch.cuda.current_device()]


# Seconds of steps are counted in classes, each so much wider than the one before: no more than some hundreds of them,
# however many steps there are, and a median that is known to half of this.
WIDTH = 1.01


class ThroughputCallback(TrainerCallback, ExportableState):
    """
    Measures optimizer steps from when their data are asked for to when their weights are there; evaluations and
    checkpoints are not in it.

    What it counted travels in the checkpoints, so that what a killed session did after its last one, and another does
    again, counts once.
    """

    def __init__(self) -> None:
        self.classes: dict[str, int] = {}  # how many steps took so long; JSON knows no keys but text
        self.seconds = self.waited = 0.0
        self.heard = self.padded = 0.0
        self.halved = 0
        self._asked = time.perf_counter()
        self._waited = self._heard = self._padded = 0.0

    def state(self) -> dict[str, Any]:
        """As it is written into a checkpoint."""
        known = ("classes", "seconds", "waited", "heard", "padded", "halved")
        return {"args": {}, "attributes": {name: getattr(self, name) for name in known}}

    def ask(self) -> None:
        """The data of a step are asked for."""
        self._asked = time.perf_counter()

    def have(self, heard: float, padded: float) -> None:
        """
        The data of a step are there.

        Args:
            heard (`float`): Audio of its clips, on all processes, in seconds.
            padded (`float`): The same with each clip as long as the longest of its batch.
        """
        self._waited, self._heard, self._padded = time.perf_counter() - self._asked, heard, padded

    def on_step_end(self, args, state, control, **kwargs):
        took = time.perf_counter() - self._asked
        each = str(round(math.log(max(took, 1e-6), WIDTH)))
        self.classes[each] = self.classes.get(each, 0) + 1
        self.seconds, self.waited = self.seconds + took, self.waited + self._waited
        self.heard, self.padded = self.heard + self._heard, self.padded + self._padded

    def record(self) -> Throughput | None:
        """What was measured; nothing before the first step."""
        if not self.classes:
            return None
        return Throughput(
            step_seconds=self._median(),
            waiting_share=self.waited / self.seconds,
            audio_seconds=self.heard,
            audio_hours_per_hour=self.heard / self.seconds,
            padding_share=1 - self.heard / self.padded if self.padded else 0.0,
            halved_batches=self.halved,
        )

    def _median(self) -> float:
        left = sum(self.classes.values()) // 2
        for each in sorted(self.classes, key=int):
            left -= self.classes[each]
            if left < 0:
                break
        return WIDTH ** int(each)


def audio_of(lengths: list[torch.Tensor]) -> tuple[float, float]:
    """
    Audio of some batches.

    Args:
        lengths (`list[torch.Tensor]`): Of the clips of each batch, in seconds, each of shape `(batch,)`.

    Returns:
        `tuple[float, float]`: Seconds of all clips, and seconds with each as long as the longest of its batch.
    """
    heard = sum(float(each.sum()) for each in lengths)
    return heard, sum(float(each.max()) * len(each) for each in lengths)


# The variable by which each is told where to write. Trackio reads it once in a process.
FOLDERS = {"tensorboard": "TENSORBOARD_LOGGING_DIR", "trackio": "TRACKIO_DIR"}
# What was put there for an earlier run of this process, and so is not the user's word.
_ours: dict[str, str] = {}


def require_trackers(names: Collection[str]) -> None:
    """
    Checks that everything that training is to report to is there.

    Args:
        names (`Collection[str]`): As `training.report_to` has them.

    Raises:
        RecipeError: Says what is missing and how to install it.
    """
    there = get_available_reporting_integrations() if names else []
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise RecipeError(f"training.report_to: there is no {name!r}, only {', '.join(INTEGRATION_TO_CALLBACK)}")
        # Transformers is content with tensorboardX.
        if name not in there or (name == "tensorboard" and importlib.util.find_spec(name) is None):
            package = "'escoita[tracking]'" if name in FOLDERS else name
            raise RecipeError(f"training.report_to: {name} is not installed: pip install {package}")


def keep_inside(run: RunDirectory, names: Collection[str]) -> None:
    """
    Lets TensorBoard and Trackio write below `tracking/` of the run, unless the environment names other folders.

    Args:
        run ([`RunDirectory`]): About to be trained.
        names (`Collection[str]`): What training reports to.
    """
    for name in FOLDERS.keys() & names:
        variable = FOLDERS[name]
        if os.environ.get(variable) in (None, _ours.get(variable)):
            os.environ[variable] = _ours[variable] = str((run.tracking / name).resolve())


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
