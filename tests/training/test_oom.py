from typing import Any

import numpy as np
import pytest
import torch

from escoita.training.data_collator import SECONDS
from escoita.training.oom import BatchSplitter, TrainingMemoryError, halves, size


class Memory:
    """Simulate work that adds up labels, and memory for a number of rows."""

    def __init__(self, capacity: int, error: RuntimeError | None = None):
        self.capacity, self.error = capacity, error or torch.OutOfMemoryError("out of memory")
        self.sum, self.portions = 0.0, []  # type: ignore[var-annotated]

    def work(self, batch: dict[str, Any]) -> torch.Tensor:
        rows = len(batch["labels"])
        self.portions.append(rows)
        self.sum += float(batch["labels"][0].sum())  # the work that is done before memory runs out
        if rows > self.capacity:
            raise self.error
        self.sum += float(batch["labels"][1:].sum())
        return batch["labels"].sum()

    def clear(self) -> None:
        self.sum = 0.0


def batch(rows: int, value: int = 1, length: int = 4) -> dict[str, Any]:
    labels = torch.full((rows, length), value)
    return {"labels": labels, SECONDS: np.arange(1.0, rows + 1), "use_cache": False}


def test_a_batch_that_fits_is_not_split() -> None:
    memory, splitter = Memory(8), BatchSplitter("training")
    assert splitter.run(memory.work, batch(8), memory.clear) == 32
    assert memory.portions == [8]


@pytest.mark.parametrize("rows, capacity", [(8, 4), (8, 3), (8, 1), (7, 2), (2, 1), (5, 4)])
def test_every_row_counts_once(rows: int, capacity: int) -> None:
    memory, splitter = Memory(capacity), BatchSplitter("training")
    assert splitter.run(memory.work, batch(rows), memory.clear) == 4 * rows
    assert memory.sum == 4 * rows


def test_earlier_batches_of_the_step_are_repeated() -> None:
    memory, splitter = Memory(4), BatchSplitter("training")
    first, second = batch(4, 10), batch(6, 100)
    splitter.run(memory.work, first, memory.clear)
    assert splitter.run(memory.work, second, memory.clear, before=[first]) == 2400
    assert memory.sum == 160 + 2400


def test_later_batches_of_the_same_size_are_split_in_advance(capfd: pytest.CaptureFixture[str]) -> None:
    memory, splitter = Memory(4), BatchSplitter("training")
    splitter.run(memory.work, batch(8), memory.clear)
    memory.portions.clear()
    splitter.run(memory.work, batch(8), memory.clear)
    splitter.run(memory.work, batch(2), memory.clear)
    assert memory.portions == [4, 4, 2]
    (line,) = capfd.readouterr().err.splitlines()
    assert "8 clips" in line and "8.0 s" in line


def test_a_single_clip_that_does_not_fit_is_an_error() -> None:
    memory = Memory(0)
    with pytest.raises(TrainingMemoryError) as error:
        BatchSplitter("training").run(memory.work, batch(4), memory.clear)
    assert (error.value.key, error.value.clips, error.value.seconds) == ("training", 1, 1.0)


def test_several_processes_do_not_split_batches() -> None:
    memory = Memory(2)
    with pytest.raises(TrainingMemoryError) as error:
        BatchSplitter("training", processes=2).run(memory.work, batch(4), memory.clear)
    assert (error.value.key, error.value.clips, error.value.seconds) == ("training", 4, 4.0)
    assert memory.portions == [4]


def test_other_errors_are_raised() -> None:
    failure = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    memory = Memory(2, failure)
    with pytest.raises(RuntimeError) as error:
        BatchSplitter("training").run(memory.work, batch(4), memory.clear)
    assert error.value is failure


def test_halves_are_views_of_every_tensor() -> None:
    full = batch(5)
    first, second = halves(full)
    assert [len(first[SECONDS]), len(second[SECONDS])] == [2, 3] and first["use_cache"] is False
    assert first["labels"].data_ptr() == full["labels"].data_ptr()
    assert size(first) + size(second) == size(full) == 20
