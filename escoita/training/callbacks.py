"""Define callbacks for energy, throughput, experiment trackers, and the best adapter with early stopping."""

import importlib.util
import json
import math
import os
import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from transformers import TrainerCallback
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations
from transformers.trainer_callback import ExportableState

from escoita.errors import RecipeError
from escoita.metrics.primary import metric_name, metrics_by_rank
from escoita.records.evaluation import Metric
from escoita.records.training import Throughput
from escoita.run_directory import RunDirectory
from escoita.training.checkpointing import checkpoints_by_step, folder_written
from escoita.training.sharding import full_weights
from escoita.utils.files import sync_files
from escoita.utils.processes import gathered, say


class EnergyMeter(TrainerCallback, ExportableState):
    """
    Measure the energy of the GPUs from the first to the last step, over all sessions; checkpoints hold the state.

    Args:
        joules (`float`, *optional*, defaults to 0): Energy of earlier sessions in joules; `None` if one of them was
            not measured.
    """

    def __init__(self, joules: float | None = 0.0):
        self.earlier = joules
        self.started: float | None = None

    @property
    def joules(self) -> float | None:
        """Return the energy so far in joules, or `None` if it was not measured."""
        now = gpu_joules()
        if self.earlier is None or self.started is None or now is None:
            return None
        return self.earlier + now - self.started

    def on_train_begin(self, args, state, control, **kwargs):
        """Read the counter before the first step."""
        self.started = gpu_joules()

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint holds."""
        return {"args": {"joules": self.joules}, "attributes": {}}


def gpu_joules() -> float | None:
    """
    Return the energy of the GPUs of this training since their driver was loaded, from NVML's counter.

    The counter includes other programs on these GPUs.

    Returns:
        `float`: The energy in joules; `None` without a GPU, without `nvidia-ml-py`, for GPUs older than Volta, which
            have no counter, and for a training on several machines, none of which can read all counters.
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
        # NVML ignores CUDA_VISIBLE_DEVICES and numbers GPUs in another order, so they are identified by their UUIDs.
        names = [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in _indices(processes)]
        handles = [pynvml.nvmlDeviceGetHandleByUUID(name) for name in names]
        return sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles) / 1000
    except pynvml.NVMLError:
        return None


def _indices(processes: int) -> list[int]:
    """Return the indices of the GPUs: one per process, or the current one of a single process."""
    import torch

    return list(range(processes)) if processes > 1 else [torch.cuda.current_device()]


# Step times are counted in logarithmic bins, each wider than the previous one by this factor: a few hundred bins hold
# any number of steps, and give the median with an error of half of a bin.
BIN_FACTOR = 1.01


class ThroughputCallback(TrainerCallback, ExportableState):
    """
    Measure optimizer steps, from the request of their data to the update of the weights.

    Evaluations and checkpoints are not included. Checkpoints hold the counts, so that steps which an interrupted
    session took after its last checkpoint, and which the next session takes again, count once.
    """

    def __init__(self) -> None:
        self.step_counts: dict[str, int] = {}  # steps in each bin; JSON requires keys of type `str`
        self.total_seconds = self.data_seconds = 0.0
        self.audio_seconds = self.padded_seconds = 0.0
        self.split_batches = 0
        self._started = time.perf_counter()
        self._data_seconds = self._audio_seconds = self._padded_seconds = 0.0

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint holds."""
        saved = ("step_counts", "total_seconds", "data_seconds", "audio_seconds", "padded_seconds", "split_batches")
        return {"args": {}, "attributes": {name: getattr(self, name) for name in saved}}

    def start_step(self) -> None:
        """Record that the data of a step are requested."""
        self._started = time.perf_counter()

    def data_loaded(self, audio_seconds: float, padded_seconds: float) -> None:
        """
        Record that the data of a step are loaded.

        Args:
            audio_seconds (`float`): Duration of the clips of all processes, in seconds.
            padded_seconds (`float`): The same duration with padding to the longest clip of each batch.
        """
        self._data_seconds = time.perf_counter() - self._started
        self._audio_seconds, self._padded_seconds = audio_seconds, padded_seconds

    def on_step_end(self, args, state, control, **kwargs):
        """Count the step."""
        seconds = time.perf_counter() - self._started
        bin_number = str(round(math.log(max(seconds, 1e-6), BIN_FACTOR)))
        self.step_counts[bin_number] = self.step_counts.get(bin_number, 0) + 1
        self.total_seconds += seconds
        self.data_seconds += self._data_seconds
        self.audio_seconds += self._audio_seconds
        self.padded_seconds += self._padded_seconds

    def record(self) -> Throughput | None:
        """Return the throughput, or `None` before the first step."""
        if not self.step_counts:
            return None
        return Throughput(
            step_seconds=self._median(),
            waiting_share=self.data_seconds / self.total_seconds,
            audio_seconds=self.audio_seconds,
            audio_hours_per_hour=self.audio_seconds / self.total_seconds,
            padding_share=1 - self.audio_seconds / self.padded_seconds if self.padded_seconds else 0.0,
            halved_batches=self.split_batches,
        )

    def _median(self) -> float:
        remaining = sum(self.step_counts.values()) // 2
        for bin_number in sorted(self.step_counts, key=int):
            remaining -= self.step_counts[bin_number]
            if remaining < 0:
                break
        return BIN_FACTOR ** int(bin_number)


def batch_durations(lengths: Sequence[np.ndarray]) -> tuple[float, float]:
    """
    Return the duration of some batches, without and with padding.

    Args:
        lengths (`Sequence[np.ndarray]`): The durations of the clips of each batch in seconds, each of shape
            `(batch,)`.

    Returns:
        `tuple[float, float]`: Seconds of all clips, and seconds with padding to the longest clip of each batch.
    """
    audio_seconds = sum(float(each.sum()) for each in lengths)
    return audio_seconds, sum(float(each.max()) * len(each) for each in lengths)


# The environment variable of each tracker that names its output folder. Trackio reads it once per process.
FOLDERS = {"tensorboard": "TENSORBOARD_LOGGING_DIR", "trackio": "TRACKIO_DIR"}
# Values that were set for an earlier run of this process, and not by the user.
_set_by_escoita: dict[str, str] = {}


def require_trackers(names: Collection[str]) -> None:
    """
    Check that the experiment trackers of a training are installed.

    Args:
        names (`Collection[str]`): The names in `training.report_to`.

    Raises:
        RecipeError: A tracker is unknown or not installed.
    """
    available = get_available_reporting_integrations() if names else []
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            hint = f"use one of {', '.join(INTEGRATION_TO_CALLBACK)}"
            raise RecipeError("unknown experiment tracker", key="training.report_to", value=name, hint=hint)
        # Transformers also accepts tensorboardX.
        if name not in available or (name == "tensorboard" and importlib.util.find_spec(name) is None):
            package = "'escoita[tracking]'" if name in FOLDERS else name
            hint = f"run pip install {package}"
            raise RecipeError("not installed", key="training.report_to", value=name, hint=hint)


def set_tracking_folders(run: RunDirectory, names: Collection[str]) -> None:
    """
    Let TensorBoard and Trackio write below `tracking/` of the run, unless the environment names other folders.

    Args:
        run ([`RunDirectory`]): The run directory of the training.
        names (`Collection[str]`): The names in `training.report_to`.
    """
    for name in FOLDERS.keys() & names:
        variable = FOLDERS[name]
        if os.environ.get(variable) in (None, _set_by_escoita.get(variable)):
            os.environ[variable] = _set_by_escoita[variable] = str((run.tracking / name).resolve())


class BestAdapter(TrainerCallback, ExportableState):
    """
    Keep the adapter with the lowest validation rate in `best/step-N/` of the run: that of the primary metric, and of
    equals that of the other one.

    Checkpoints hold the state. A folder is kept as long as a checkpoint refers to it, so that a run can resume from
    any checkpoint.

    Args:
        patience (`int`, *optional*): Number of evaluations without a lower rate after which training stops.
        primary (`str`, *optional*, defaults to `"wer"`): The primary metric.
    """

    def __init__(self, patience: int | None = None, primary: Metric = "wer"):
        self.patience, self.primary = patience, primary
        self.step: int | None = None
        self.rates: list[float] = []  # the primary rate, the other rate and the loss at that step
        self.not_improved = 0  # evaluations since the primary rate was lowered
        self.evaluated: int | None = None  # the last evaluated step
        self.trained = False  # a step with a learning rate above 0 was taken; the first step of a warm-up has 0

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint holds."""
        saved = ("step", "rates", "not_improved", "evaluated", "trained")
        return {
            "args": {"patience": self.patience, "primary": self.primary},
            "attributes": {name: getattr(self, name) for name in saved},
        }

    @property
    def out_of_patience(self) -> bool:
        """Return whether training must stop."""
        return self.patience is not None and self.not_improved >= self.patience

    def weights(self, args: Any) -> Path | None:
        """Return the folder of the best adapter so far, or `None` if no step was evaluated."""
        return None if self.step is None else best_folder(args) / f"step-{self.step}"

    def reset(self) -> None:
        """Consider only the following steps."""
        self.step, self.rates, self.not_improved = None, [], 0

    def on_train_begin(self, args, state, control, **kwargs):
        """Reset the state if the adapter to which a checkpoint refers was removed."""
        folder = self.weights(args)
        if folder is not None and not gathered(folder.is_dir(), PartialState())[0]:
            say(f"{folder} not found; the best adapter is selected among the following steps")
            self.reset()
        if self.out_of_patience:  # before the run was killed
            control.should_training_stop = True

    def on_optimizer_step(self, args, state, control, optimizer, **kwargs):
        """Record whether the weights have changed; they have not after a step that the scaler of fp16 skipped."""
        taken = any(group["lr"] > 0 for group in optimizer.param_groups) and not optimizer.step_was_skipped
        self.trained = self.trained or taken

    def on_step_end(self, args, state, control, **kwargs):
        """Evaluate the end of an epoch before saving, so that the checkpoint includes the result."""
        ends = state.epoch.is_integer() or state.global_step >= state.max_steps
        if args.eval_strategy == "epoch" and ends and state.epoch >= args.eval_delay:
            control.should_evaluate = True

    def on_epoch_end(self, args, state, control, **kwargs):
        """Evaluate the last step independently of the interval, and no step twice."""
        last = state.global_step >= state.max_steps or control.should_training_stop
        if args.eval_strategy != "no" and last:
            control.should_evaluate = True
        if self.evaluated == state.global_step:
            control.should_evaluate = False
        if self.out_of_patience:  # the adapter can be saved from this last checkpoint if the run is killed now
            control.should_save = control.should_log = args.save_strategy != "no"

    def on_evaluate(self, args, state, control, metrics, model, **kwargs):
        """Save the adapter if it is the best so far, and stop training after too many evaluations without one."""
        self.evaluated = state.global_step
        if not self.trained or "eval_wer" not in metrics:
            return
        rates = [metrics[f"eval_{metric}"] for metric in (*metrics_by_rank(self.primary), "loss")]
        lowered = not self.rates or rates[0] < self.rates[0]
        self.not_improved = 0 if lowered else self.not_improved + 1
        if lowered or rates < self.rates:
            self.step, self.rates = state.global_step, rates
            weights = full_weights(model)
            if state.is_world_process_zero:
                save_weights(model, best_folder(args) / f"step-{self.step}", weights)
        if self.out_of_patience and state.global_step < state.max_steps:
            control.should_training_stop = True
            control.should_save = False  # the end of the epoch follows, and saves

    def on_save(self, args, state, control, **kwargs):
        """Remove adapters to which no checkpoint refers."""
        if state.is_world_process_zero and state.global_step < state.max_steps:
            used = {self.weights(args), *best_of_checkpoints(args)}
            for folder in best_folder(args).glob("*"):
                if folder not in used:
                    shutil.rmtree(folder, ignore_errors=True)

    def on_train_end(self, args, state, control, **kwargs):
        """Log the step of the best adapter."""
        stopped = state.global_step < state.max_steps and not self.out_of_patience  # by a signal
        if self.step is None or stopped:
            return
        name = metric_name(self.primary)
        if self.out_of_patience and state.global_step < state.max_steps:
            evaluations = f"{self.not_improved} evaluation{'s' * (self.not_improved != 1)}"
            say(f"Stopped after step {self.evaluated}: the last {evaluations} did not lower the {name}")
        say(f"Best adapter: step {self.step} ({name} {self.rates[0]:.3f})")
        base = next((entry.get(f"eval_{self.primary}") for entry in state.log_history if entry["step"] == 0), None)
        if base is not None and self.rates[0] >= base:
            say(f"No adapter has a lower validation {name} than the base ({name} {base:.3f})")


def best_of(trainer: Any) -> BestAdapter:
    """Return the callback of a trainer, which a checkpoint replaces by its own."""
    return next(callback for callback in trainer.callback_handler.callbacks if isinstance(callback, BestAdapter))


def best_folder(args: Any) -> Path:
    """Return the folder of the best adapters of a run; checkpoints do not hold it because a run may be moved."""
    return RunDirectory(Path(args.output_dir).parent).best


def best_of_checkpoints(args: Any) -> set[Path]:
    """Return the folders of the best adapters to which the checkpoints of a run refer."""
    steps = set()
    for checkpoint in checkpoints_by_step(Path(args.output_dir)).values():
        try:
            callbacks = json.loads((checkpoint / "trainer_state.json").read_bytes())["stateful_callbacks"]
            steps.add(callbacks[BestAdapter.__name__]["attributes"]["step"])
        except (OSError, ValueError, KeyError):  # a damaged checkpoint
            continue
    return {best_folder(args) / f"step-{step}" for step in steps}


def save_weights(model: Any, folder: Path, weights: dict[str, Any] | None = None) -> None:
    """
    Write the weights and the configuration of an adapter, completely or not at all.

    The README that PEFT writes is removed because it names a local path as base.

    Args:
        model (`PeftModel`): The model with its adapter.
        folder (`Path`): The folder to write or replace.
        weights (`dict[str, Any]`, *optional*): The weights of the adapter, if the model holds only a shard of them.
    """
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    # By default PEFT requests the configuration of the base from the Hub, to detect a resized vocabulary.
    options = {"save_embedding_layers": False} | ({"state_dict": weights} if weights else {})
    with folder_written(unfinished):
        model.save_pretrained(unfinished, **options)
        sync_files(unfinished)
    (unfinished / "README.md").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
