"""Test the callbacks, the best adapter in a simulated training with Trainer's control flow and invented results."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerControl, TrainerState
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback

from escoita.errors import RecipeError
from escoita.records.evaluation import Metric
from escoita.run_directory import RunDirectory
from escoita.training import callbacks
from escoita.training.arguments import sft_config
from escoita.training.callbacks import (
    FOLDERS,
    BestAdapter,
    EnergyMeter,
    ThroughputCallback,
    batch_durations,
    best_folder,
    best_of,
    gpu_joules,
    require_trackers,
    save_weights,
    set_tracking_folders,
)
from tests.training.test_arguments import recipe


class Model:
    """Write the step as weights."""

    step = 0

    def save_pretrained(self, folder: Path, **options: Any) -> None:
        assert options == {"save_embedding_layers": False}
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").write_text(str(self.step))
        (folder / "README.md").write_text("base_model: /home/ana/gemma4")


class Training:
    """
    Simulate Trainer's loop with three batches per epoch and no model: steps, evaluations and checkpoints.

    Args:
        path: The run directory.
        found: The WER at each step, or WER, CER and loss.
        steps: The number of steps.
        patience: The patience of the callback.
        arguments: Further arguments of Trainer.
    """

    def __init__(
        self,
        path: Path,
        found: list,
        steps: int = 6,
        patience: int | None = None,
        primary: Metric = "wer",
        **arguments: Any,
    ):
        saving = {"save_strategy": "steps", "save_steps": 2, "output_dir": str(path / "checkpoints")}
        evaluating = {"eval_strategy": "steps", "eval_steps": 1, "eval_delay": 0}
        logging = {"logging_strategy": "no", "logging_first_step": False}
        self.args = SimpleNamespace(**(saving | evaluating | logging | arguments))
        self.found, self.steps, self.best = found, steps, BestAdapter(patience, primary)
        self.model = Model()
        self.optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}], step_was_skipped=False)
        self.evaluated: list[int] = []
        self.saved: dict[int, str] = {}
        self.state = TrainerState(max_steps=steps, eval_steps=self.args.eval_steps, save_steps=self.args.save_steps)
        self.begin()

    def begin(self) -> None:
        self.callback_handler = CallbackHandler(
            [DefaultFlowCallback, self.best], self.model, None, self.optimizer, None
        )
        self.control = TrainerControl()
        self.control = self.callback_handler.on_train_begin(self.args, self.state, self.control)

    def evaluate(self) -> None:
        self.evaluated.append(self.state.global_step)
        rates = self.found[self.state.global_step]
        wer, cer, loss = rates if isinstance(rates, tuple) else (rates, 0.1, 1.0)
        metrics = {"eval_wer": wer, "eval_cer": cer, "eval_loss": loss}
        if wer is None:
            metrics = {"eval_loss": loss}
        self.state.log_history.append(metrics | {"step": self.state.global_step})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)

    def react(self) -> None:
        if self.control.should_evaluate:
            self.evaluate()
        if self.control.should_save:
            self.saved[self.state.global_step] = json.dumps(self.best.state())
            self.control = self.callback_handler.on_save(self.args, self.state, self.control)

    def run(self, until: int | None = None) -> "Training":
        """Train to the end, or to the step at which the process is killed."""
        while not self.control.should_training_stop:
            self.control = self.callback_handler.on_step_begin(self.args, self.state, self.control)
            self.control = self.callback_handler.on_optimizer_step(self.args, self.state, self.control)
            self.state.global_step += 1
            self.model.step = self.state.global_step
            self.state.epoch = self.state.global_step / 3
            self.control = self.callback_handler.on_step_end(self.args, self.state, self.control)
            self.react()
            if self.state.global_step == until:
                return self
            if self.state.global_step % 3 == 0 or self.control.should_training_stop:
                self.control = self.callback_handler.on_epoch_end(self.args, self.state, self.control)
                self.react()
        self.control = self.callback_handler.on_train_end(self.args, self.state, self.control)
        return self

    def resume(self, step: int, found: list | None = None) -> "Training":
        """Start another session from a checkpoint."""
        self.best = BestAdapter.from_state(json.loads(self.saved[step]))
        self.state.global_step, self.found, self.evaluated = step, found or self.found, []
        self.begin()
        return self

    @property
    def saved_weights(self) -> str:
        weights = best_of(self).weights(self.args)
        assert weights is not None
        assert [path.name for path in weights.iterdir()] == ["adapter_model.safetensors"]
        return (weights / "adapter_model.safetensors").read_text()


def test_the_adapter_with_the_lowest_wer_is_kept(tmp_path: Path) -> None:
    training = Training(tmp_path, [0.1, 0.9, 0.5, 0.3, 0.4, 0.3, 0.8]).run()
    assert (training.best.step, training.saved_weights) == (3, "3")
    assert training.best.weights(training.args) == tmp_path / "best/step-3"


@pytest.mark.parametrize(
    "found, kept",
    [
        ([1, (0.3, 0.2, 9.0), (0.3, 0.1, 9.0), (0.3, 0.2, 1.0)], 2),
        ([1, (0.3, 0.2, 9.0), (0.3, 0.2, 8.0), (0.3, 0.2, 8.0)], 2),
        ([1, (0.3, 0.2, 9.0), (0.3, 0.2, float("nan")), (0.3, 0.3, 0.0)], 1),
    ],
)
def test_ties_go_to_lower_cer_then_lower_loss(tmp_path: Path, found: list, kept: int) -> None:
    assert Training(tmp_path, found, steps=3).run().best.step == kept


def test_the_base_is_evaluated_but_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Training(tmp_path, [0.1, 0.5, 0.4, 0.6], steps=3)
    training.evaluate()
    assert training.best.step is None and not (tmp_path / "best").exists()
    training.run()
    lines = capsys.readouterr().err.splitlines()
    assert training.saved_weights == "2"
    assert any("step 2" in line and "0.400" in line for line in lines) and any("0.100" in line for line in lines)


def test_without_wer_nothing_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Training(tmp_path, [(None, None, 1.0)] * 7, patience=1).run()
    assert training.evaluated == [1, 2, 3, 4, 5, 6]
    assert training.best.step is None and training.best.weights(training.args) is None
    assert not (tmp_path / "best").exists() and not capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, steps, evaluated",
    [
        ({"eval_steps": 2}, 6, [2, 4, 6]),
        ({"eval_steps": 4}, 6, [4, 6]),
        ({"eval_steps": 9}, 6, [6]),
        ({"eval_delay": 9}, 6, [6]),
        ({"eval_strategy": "epoch"}, 6, [3, 6]),
        ({"eval_strategy": "epoch"}, 5, [3, 5]),
        ({"eval_strategy": "epoch", "eval_delay": 2}, 6, [6]),
        ({"eval_strategy": "epoch", "eval_delay": 9}, 6, [6]),
        ({"eval_strategy": "no"}, 6, []),
    ],
)
def test_the_last_step_is_evaluated_and_no_step_twice(
    tmp_path: Path, arguments: dict[str, Any], steps: int, evaluated: list[int]
) -> None:
    assert Training(tmp_path, [0.5] * 7, steps, **arguments).run().evaluated == evaluated


def test_a_checkpoint_at_the_end_of_an_epoch_includes_the_evaluation(tmp_path: Path) -> None:
    training = Training(tmp_path, [0.5] * 7, eval_strategy="epoch", save_steps=3).run()
    assert json.loads(training.saved[3])["attributes"]["step"] == 3


def test_training_stops_without_improvement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.4, (0.4, 0.05, 1.0), 0.3, 0.2], patience=2).run()
    assert training.evaluated == [1, 2, 3, 4]
    assert training.saved_weights == "4"  # the CER was lower, which does not reset the patience
    assert any("step 4" in line for line in capsys.readouterr().err.splitlines())
    assert 4 in training.saved  # the adapter can be saved from this checkpoint if the run is killed now


def test_patience_counts_consecutive_evaluations(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.6, 0.4, 0.5, 0.3, 0.4], patience=2).run()
    assert training.evaluated == [1, 2, 3, 4, 5, 6] and training.saved_weights == "5"


def test_a_run_that_was_killed_out_of_patience_takes_no_further_step(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.4, 0.5, 0.3, 0.2], patience=2).run().resume(4)
    assert training.control.should_training_stop and training.run().evaluated == []
    assert training.saved_weights == "2"


def test_patience_without_checkpoints_writes_no_checkpoint(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.4, 0.5, 0.3, 0.2], patience=2, save_strategy="no").run()
    assert training.evaluated == [1, 2, 3, 4] and not training.saved


def test_patience_with_epochs_writes_a_checkpoint(tmp_path: Path) -> None:
    found = [0.5] * 10
    training = Training(tmp_path, found, 9, 1, eval_strategy="epoch", save_strategy="epoch").run()
    assert training.evaluated == [3, 6] and list(training.saved) == [3, 6]


def test_patience_is_resumed(tmp_path: Path) -> None:
    found = [1, 0.5, 0.6, 0.7, 0.8, 0.1, 0.1]
    training = Training(tmp_path, found, patience=3).run(until=3).resume(2).run()
    assert training.evaluated == [3, 4] and training.saved_weights == "1"


def test_the_adapter_of_the_checkpoint_stays_after_a_kill(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.2, 0.9, 0.9, 0.9]).run(until=3)
    assert (tmp_path / "best/step-3").is_dir()
    # Step 3 is worse the second time, because GPUs are not deterministic.
    training.resume(2, [1, 0.5, 0.4, 0.6, 0.9, 0.9, 0.9])
    assert training.best.step == 2
    training.run()
    assert training.saved_weights == "2" and training.best.rates[0] == 0.4


def test_the_adapter_of_an_earlier_checkpoint_stays_after_a_kill_at_the_end(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.6, 0.7, 0.8, 0.3]).run()
    assert training.saved_weights == "6"
    training.resume(4, [1, 0.5, 0.4, 0.6, 0.7, 0.8, 0.41]).run()
    assert training.saved_weights == "2"


def test_adapters_of_no_checkpoint_are_removed(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.9])
    training.run(until=1)
    (tmp_path / "best/step-9.unfinished").mkdir()
    training.run(until=4)
    assert [folder.name for folder in (tmp_path / "best").iterdir()] == ["step-4"]


def test_adapters_of_earlier_checkpoints_are_kept(tmp_path: Path) -> None:
    """The newest checkpoint may be damaged."""
    training = Training(tmp_path, [1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.9]).run(until=2)
    for step, state in (2, {"stateful_callbacks": {"BestAdapter": training.best.state()}}), (1, {}):
        (tmp_path / f"checkpoints/checkpoint-{step}").mkdir(parents=True)
        (tmp_path / f"checkpoints/checkpoint-{step}/trainer_state.json").write_text(json.dumps(state))
    training.run(until=4)
    assert {folder.name for folder in (tmp_path / "best").iterdir()} == {"step-2", "step-4"}


def test_a_removed_adapter_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Training(tmp_path, [1, 0.1, 0.4, 0.6, 0.7, 0.8, 0.9]).run(until=2)
    (tmp_path / "best/step-1").rename(tmp_path / "elsewhere")
    training.resume(2).run()
    assert training.saved_weights == "3"
    assert "best/step-1" in capsys.readouterr().err


def test_a_run_may_be_moved_between_sessions(tmp_path: Path) -> None:
    training = Training(tmp_path / "a", [1, 0.1, 0.4, 0.6, 0.7, 0.8, 0.9]).run(until=2)
    (tmp_path / "a").rename(tmp_path / "b")
    training.args.output_dir = str(tmp_path / "b/checkpoints")
    assert training.resume(2).run().saved_weights == "1"
    assert best_folder(training.args) == tmp_path / "b/best"


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.6, 0.7, 0.8, 0.9])
    training.state.is_world_process_zero = False
    assert training.run().best.step == 2 and not (tmp_path / "best").exists()


def test_weights_are_written_completely_or_not_at_all(tmp_path: Path) -> None:
    class Killed(Model):
        def save_pretrained(self, folder: Path, **options: Any) -> None:
            super().save_pretrained(folder, **options)
            raise KeyboardInterrupt

    save_weights(Model(), tmp_path / "step-1")
    for name in ("step-1", "step-2"):
        with pytest.raises(KeyboardInterrupt):
            save_weights(Killed(), tmp_path / name)
    assert (tmp_path / "step-1/adapter_model.safetensors").is_file() and not (tmp_path / "step-2").exists()
    save_weights(Model(), tmp_path / "step-2")
    assert {path.name for path in tmp_path.glob("step-2*")} == {"step-2"}


def test_an_unchanged_adapter_is_not_kept(tmp_path: Path) -> None:
    """The learning rate of the first step of a warm-up is 0."""
    training = Training(tmp_path, [0.9, 0.1, 0.5, 0.4, 0.6, 0.7, 0.8])
    training.optimizer.param_groups[0]["lr"] = 0.0
    training.run(until=1)
    assert training.evaluated == [1] and training.best.step is None and training.best.not_improved == 0
    training.optimizer.param_groups[0]["lr"] = 0.1
    training.run()
    assert training.best.step == 3


def test_a_step_that_the_scaler_skipped_changes_no_weights(tmp_path: Path) -> None:
    training = Training(tmp_path, [0.9, 0.1, 0.5, 0.4, 0.6, 0.7, 0.8])
    training.optimizer.step_was_skipped = True
    training.run(until=1)
    assert training.best.step is None
    training.optimizer.step_was_skipped = False
    assert training.run().best.step == 3


def test_a_reset_considers_only_later_steps(tmp_path: Path) -> None:
    training = Training(tmp_path, [0.9, 0.1, 0.5, 0.4, 0.3, 0.7, 0.8], patience=6)
    training.run(until=2)
    training.best.reset()
    training.run()
    assert training.best.step == 4


def begin(meter: EnergyMeter) -> EnergyMeter:
    meter.on_train_begin(None, None, None)
    return meter


def resumed(meter: EnergyMeter) -> EnergyMeter:
    """Return the callback that the trainer restores from a checkpoint."""
    return EnergyMeter.from_state(json.loads(json.dumps(meter.state())))


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> dict[str, float | None]:
    """Replace the counter of the GPU."""
    shown: dict[str, float | None] = {"joules": 1000.0}
    monkeypatch.setattr(callbacks, "gpu_joules", lambda: shown["joules"])
    return shown


def test_energy_is_the_difference_of_the_counter(counter: dict[str, float | None]) -> None:
    meter = begin(EnergyMeter())
    counter["joules"] = 1360.5
    assert meter.joules == 360.5


def test_a_resumed_training_adds_to_the_energy_of_its_checkpoint(counter: dict[str, float | None]) -> None:
    first = begin(EnergyMeter())
    counter["joules"] = 1100.0
    second = resumed(first)
    counter["joules"] = 7.0  # the machine was restarted
    begin(second)
    counter["joules"] = 57.0
    assert second.joules == 150.0


def test_a_session_without_a_counter_makes_the_energy_unknown(counter: dict[str, float | None]) -> None:
    counter["joules"] = None
    first = begin(EnergyMeter())
    assert first.joules is None
    counter["joules"] = 5.0
    assert begin(resumed(first)).joules is None
    assert EnergyMeter().joules is None  # not begun


class NVMLError(Exception):
    pass


def fake_nvml(monkeypatch: pytest.MonkeyPatch, energy_of: Callable[[str], int], **changes: Any) -> None:
    """Simulate two GPUs and NVML."""
    module = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlDeviceGetTotalEnergyConsumption=energy_of,
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"id-{index}"))
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in changes.items():
        monkeypatch.setenv(name, value)


MILLIJOULES = {"GPU-id-0": 5_000, "GPU-id-1": 1_500}


def test_the_counter_of_the_gpu_that_trains_is_read_in_joules(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml(monkeypatch, MILLIJOULES.__getitem__)
    assert gpu_joules() == 1.5


def test_the_energy_of_all_gpus_of_a_machine_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml(monkeypatch, MILLIJOULES.__getitem__, WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")
    assert gpu_joules() == 6.5


def test_the_energy_of_several_machines_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml(monkeypatch, MILLIJOULES.__getitem__, WORLD_SIZE="4", LOCAL_WORLD_SIZE="2")
    assert gpu_joules() is None


def test_a_gpu_without_a_counter_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> int:
        raise NVMLError("not supported")

    fake_nvml(monkeypatch, fail)
    assert gpu_joules() is None


def test_without_a_gpu_or_the_library_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml(monkeypatch, MILLIJOULES.__getitem__)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_joules() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_joules() is None


class Clock:
    """Replace the clock of the machine."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    return clock


def step(callback: ThroughputCallback, clock: Clock, data_seconds: float, seconds: float) -> None:
    """Take a step on 10 s of audio, 12.5 s with padding."""
    callback.start_step()
    clock.now += data_seconds
    callback.data_loaded(10.0, 12.5)
    clock.now += seconds - data_seconds
    callback.on_step_end(None, None, None)


def test_there_is_no_throughput_before_the_first_step() -> None:
    assert ThroughputCallback().record() is None


def test_time_between_steps_is_not_measured(clock: Clock) -> None:
    meter = ThroughputCallback()
    for seconds in (1.0, 2.0, 30.0):
        step(meter, clock, data_seconds=0.5, seconds=seconds)
        clock.now += 1000  # an evaluation
    record = meter.record()
    assert record is not None
    assert record.step_seconds == pytest.approx(2.0, rel=0.005)
    assert record.waiting_share == pytest.approx(1.5 / 33)
    assert record.audio_seconds == 30 and record.audio_hours_per_hour == pytest.approx(30 / 33)
    assert record.padding_share == pytest.approx(0.2)


def test_throughput_is_resumed_from_a_checkpoint(clock: Clock) -> None:
    meter = ThroughputCallback()
    step(meter, clock, 0.1, 1.0)
    meter.split_batches += 1
    saved = json.loads(json.dumps(meter.state()))
    step(meter, clock, 0.1, 9.0)  # after the checkpoint, and lost
    again = ThroughputCallback(**saved["args"])
    for name, value in saved["attributes"].items():
        setattr(again, name, value)
    step(again, clock, 0.1, 1.0)
    record = again.record()
    assert record is not None and record.halved_batches == 1 and record.audio_seconds == 20
    assert record.step_seconds == pytest.approx(1.0, rel=0.005) and record.waiting_share == pytest.approx(0.1)


def test_the_state_of_a_long_training_is_small(clock: Clock) -> None:
    meter = ThroughputCallback()
    for number in range(20_000):
        step(meter, clock, 0.0, 1.0 + (number % 100) / 100)
    assert len(json.dumps(meter.state())) < 5_000


def test_durations_with_and_without_padding() -> None:
    assert batch_durations([np.array([1.0, 3.0]), np.array([2.0])]) == (6.0, 8.0)
    assert batch_durations([]) == (0.0, 0.0)


@pytest.fixture
def no_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in FOLDERS.values():
        monkeypatch.setenv(variable, "")  # so that pytest restores it
        monkeypatch.delenv(variable)
    monkeypatch.setattr(callbacks, "_set_by_escoita", {})


def test_trackers_write_below_the_run(tmp_path: Path, no_folders: None) -> None:
    set_tracking_folders(RunDirectory(tmp_path / "a"), ["trackio"])
    assert os.environ["TRACKIO_DIR"] == str(tmp_path / "a/tracking/trackio")
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ
    set_tracking_folders(RunDirectory(tmp_path / "b"), ["tensorboard", "trackio"])
    assert os.environ["TRACKIO_DIR"] == str(tmp_path / "b/tracking/trackio")
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(tmp_path / "b/tracking/tensorboard")


def test_folders_of_the_user_are_kept(tmp_path: Path, no_folders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", "/of/mine")
    set_tracking_folders(RunDirectory(tmp_path), ["trackio"])
    assert os.environ["TRACKIO_DIR"] == "/of/mine"


def test_a_missing_tracker_is_refused_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "get_available_reporting_integrations", lambda: ["tensorboard"])
    monkeypatch.setattr(callbacks.importlib.util, "find_spec", lambda name: None)
    require_trackers([])
    packages = {"trackio": "'escoita[tracking]'", "wandb": "wandb", "tensorboard": "'escoita[tracking]'"}
    for name, package in packages.items():  # tensorboardX alone is not accepted
        with pytest.raises(RecipeError) as error:
            require_trackers([name])
        assert (error.value.key, error.value.value) == ("training.report_to", name)
        assert error.value.hint is not None and error.value.hint.endswith(f"pip install {package}")


def test_an_unknown_tracker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        sft_config(recipe({"report_to": ["trakio"]}), RunDirectory(tmp_path))
    assert (error.value.key, error.value.value) == ("training.report_to", "trakio")
    assert error.value.hint is not None and "trackio" in error.value.hint


def test_tracking_is_off_by_default(tmp_path: Path) -> None:
    arguments = sft_config(recipe(), RunDirectory(tmp_path))
    assert arguments.report_to == [] and arguments.trackio_space_id is None
    assert (arguments.project, arguments.run_name) == ("escoita", "small")


def test_the_primary_metric_selects_the_adapter_and_stops(tmp_path: Path) -> None:
    found = [None, *((wer, cer, 1.0) for wer, cer in [(0.9, 0.5), (0.5, 0.6), (0.9, 0.4), (0.4, 0.7), (0.3, 0.7)])]
    training = Training(tmp_path, [*found, (0.1, 0.8, 1.0)], patience=2, primary="cer").run()
    assert (training.best.step, training.best.rates[0]) == (3, 0.4)
    assert training.state.global_step == 5
