import json

import pytest
import torch

from escoita.training import callbacks as pace
from escoita.training.callbacks import ThroughputCallback, audio_of


class Clock:
    """Stands in for the clock of the machine."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def step(
    meter: ThroughputCallback, clock: Clock, waited: float, took: float, heard: float = 10.0, padded: float = 12.5
) -> None:
    meter.ask()
    clock.now += waited
    meter.have(heard, padded)
    clock.now += took - waited
    meter.on_step_end(None, None, None)


def test_nothing_is_told_before_the_first_step() -> None:
    assert ThroughputCallback().record() is None


def test_steps_are_measured_and_what_is_between_them_is_not(clock: Clock) -> None:
    meter = ThroughputCallback()
    for took in (1.0, 2.0, 30.0):
        step(meter, clock, waited=0.5, took=took)
        clock.now += 1000  # an evaluation
    record = meter.record()
    assert record is not None
    assert record.step_seconds == pytest.approx(2.0, rel=0.005)
    assert record.waiting_share == pytest.approx(1.5 / 33)
    assert record.audio_seconds == 30 and record.audio_hours_per_hour == pytest.approx(30 / 33)
    assert record.padding_share == pytest.approx(0.2)


def test_what_was_counted_travels_in_checkpoints(clock: Clock) -> None:
    meter = ThroughputCallback()
    step(meter, clock, 0.1, 1.0)
    meter.halved += 1
    saved = json.loads(json.dumps(meter.state()))
    step(meter, clock, 0.1, 9.0)  # after the checkpoint, and lost
    again = ThroughputCallback(**saved["args"])
    for name, value in saved["attributes"].items():
        setattr(again, name, value)
    step(again, clock, 0.1, 1.0)
    record = again.record()
    assert record is not None and record.halved_batches == 1 and record.audio_seconds == 20
    assert record.step_seconds == pytest.approx(1.0, rel=0.005) and record.waiting_share == pytest.approx(0.1)


def test_a_long_training_is_counted_in_little(clock: Clock) -> None:
    meter = ThroughputCallback()
    for number in range(20_000):
        step(meter, clock, 0.0, 1.0 + (number % 100) / 100)
    assert len(json.dumps(meter.state())) < 5_000


def test_audio_and_its_padding() -> None:
    assert audio_of([torch.tensor([1.0, 3.0]), torch.tensor([2.0])]) == (6.0, 8.0)
    assert audio_of([]) == (0.0, 0.0)
