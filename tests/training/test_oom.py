from typing import Any

import pytest
import torch

from escoita.errors import TrainingError
from escoita.training.data_collator import SECONDS
from escoita.training.oom import BatchSplitter, halved, size


class Memory:
    """Work that adds up what it is given, and has room for so many rows."""

    def __init__(self, room: int, error: RuntimeError | None = None):
        self.room, self.error = room, error or torch.OutOfMemoryError("out of memory")
        self.sum, self.portions = 0.0, []  # type: ignore[var-annotated]

    def work(self, batch: dict[str, Any]) -> torch.Tensor:
        rows = len(batch["labels"])
        self.portions.append(rows)
        self.sum += float(batch["labels"][0].sum())  # what was done before memory ran out
        if rows > self.room:
            raise self.error
        self.sum += float(batch["labels"][1:].sum())
        return batch["labels"].sum()

    def forget(self) -> None:
        self.sum = 0.0


def batch(rows: int, value: int = 1, length: int = 4) -> dict[str, Any]:
    labels = torch.full((rows, length), value)
    return {"labels": labels, SECONDS: torch.arange(1.0, rows + 1), "use_cache": False}


def test_a_batch_that_fits_is_taken_whole() -> None:
    memory, halves = Memory(8), BatchSplitter("training")
    assert halves.take(memory.work, batch(8), memory.forget) == 32
    assert memory.portions == [8]


@pytest.mark.parametrize("rows, room", [(8, 4), (8, 3), (8, 1), (7, 2), (2, 1), (5, 4)])
def test_nothing_is_lost_or_done_twice(rows: int, room: int) -> None:
    memory, halves = Memory(room), BatchSplitter("training")
    assert halves.take(memory.work, batch(rows), memory.forget) == 4 * rows
    assert memory.sum == 4 * rows


def test_what_was_done_before_in_the_step_is_done_again() -> None:
    memory, halves = Memory(4), BatchSplitter("training")
    first, second = batch(4, 10), batch(6, 100)
    halves.take(memory.work, first, memory.forget)
    assert halves.take(memory.work, second, memory.forget, before=[first]) == 2400
    assert memory.sum == 160 + 2400


def test_batches_as_large_are_cut_beforehand(capfd: pytest.CaptureFixture[str]) -> None:
    memory, halves = Memory(4), BatchSplitter("training")
    halves.take(memory.work, batch(8), memory.forget)
    memory.portions.clear()
    halves.take(memory.work, batch(8), memory.forget)
    halves.take(memory.work, batch(2), memory.forget)
    assert memory.portions == [4, 4, 2]
    said = "Out of memory in training on 8 clips, the longest of 8.0 s: taken in halves"
    assert capfd.readouterr().err.count(said) == 1


def test_a_clip_that_does_not_fit_alone_is_an_error_with_its_length() -> None:
    memory = Memory(0)
    with pytest.raises(TrainingError, match=r"^training: out of memory on a single clip of 1\.0 s; set "):
        BatchSplitter("training").take(memory.work, batch(4), memory.forget)


def test_of_several_processes_none_goes_back() -> None:
    memory = Memory(2)
    with pytest.raises(TrainingError, match=r"on 4 clips, the longest of 4\.0 s; 2 processes.*halve training\.p"):
        BatchSplitter("training", processes=2).take(memory.work, batch(4), memory.forget)
    assert memory.portions == [4]


def test_another_error_is_not_taken_for_this_one() -> None:
    memory = Memory(2, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        BatchSplitter("training").take(memory.work, batch(4), memory.forget)


def test_halves_are_views_of_every_tensor() -> None:
    whole = batch(5)
    first, second = halved(whole)
    assert [len(first[SECONDS]), len(second[SECONDS])] == [2, 3] and first["use_cache"] is False
    assert first["labels"].data_ptr() == whole["labels"].data_ptr()
    assert size(first) + size(second) == size(whole) == 25
