import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from escoita.training import callbacks as energy
from escoita.training.callbacks import EnergyMeter, gpu_joules


def begin(meter: EnergyMeter) -> EnergyMeter:
    meter.on_train_begin(None, None, None)
    return meter


def resumed(meter: EnergyMeter) -> EnergyMeter:
    """As the trainer makes it again from a checkpoint."""
    return EnergyMeter.from_state(json.loads(json.dumps(meter.state())))


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> dict[str, float | None]:
    """What the GPU's counter shows."""
    shown: dict[str, float | None] = {"joules": 1000.0}
    monkeypatch.setattr(energy, "gpu_joules", lambda: shown["joules"])
    return shown


def test_energy_is_what_the_counter_went_up_by(counter: dict[str, float | None]) -> None:
    meter = begin(EnergyMeter())
    counter["joules"] = 1360.5
    assert meter.joules == 360.5


def test_a_resumed_training_adds_to_what_its_checkpoint_knew(counter: dict[str, float | None]) -> None:
    first = begin(EnergyMeter())
    counter["joules"] = 1100.0
    second = resumed(first)
    counter["joules"] = 7.0  # the machine was started anew
    begin(second)
    counter["joules"] = 57.0
    assert second.joules == 150.0


def test_a_session_without_a_counter_leaves_nothing_to_say(counter: dict[str, float | None]) -> None:
    counter["joules"] = None
    first = begin(EnergyMeter())
    assert first.joules is None
    counter["joules"] = 5.0
    assert begin(resumed(first)).joules is None
    assert EnergyMeter().joules is None  # not begun


class NVMLError(Exception):
    pass


def fake_nvml(monkeypatch: pytest.MonkeyPatch, energy_of: Callable[[str], int], **changes: Any) -> None:
    """Two GPUs whose ids say their number, and an NVML that counts for them."""
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


def test_gpus_of_all_processes_of_a_machine_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml(monkeypatch, MILLIJOULES.__getitem__, WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")
    assert gpu_joules() == 6.5


def test_of_several_machines_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml(monkeypatch, MILLIJOULES.__getitem__, WORLD_SIZE="4", LOCAL_WORLD_SIZE="2")
    assert gpu_joules() is None


def test_a_gpu_that_does_not_count_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(name: str) -> int:
        raise NVMLError("not supported")

    fake_nvml(monkeypatch, refuses)
    assert gpu_joules() is None


def test_without_a_gpu_or_the_library_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml(monkeypatch, MILLIJOULES.__getitem__)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_joules() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_joules() is None
