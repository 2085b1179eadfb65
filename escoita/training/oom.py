"""A batch that does not fit in memory is taken in halves: the same clips, the same gradient, in smaller portions."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from escoita.errors import TrainingError
from escoita.training.data_collator import SECONDS
from escoita.utils.processes import free_device_memory, is_out_of_memory, say


Batch = dict[str, Any]
ADVICE = (
    "halve training.per_device_train_batch_size and double training.gradient_accumulation_steps, which leaves the"
    " effective batch as it is, or set training.gradient_checkpointing"
)
OF_ONE_CLIP = (
    "set training.gradient_checkpointing, or leave out the longest clips and give --accept-changed-data; or, with"
    " --restart, set load_in_4bit or use a smaller base"
)


class BatchSplitter:
    """
    Takes batches whole or, from where memory ran out, in halves, and remembers how large a batch was too large.

    Args:
        what (`str`): What runs out, as a person is told of it: `training`.
        processes (`int`, *optional*, defaults to 1): That train together. Of several none can go back, as the others
            wait for its gradients; there running out of memory is an error.
    """

    def __init__(self, what: str, processes: int = 1):
        self.what, self.processes = what, processes
        self.too_large: float = math.inf  # elements of the smallest batch of several rows that did not fit

    def take(
        self,
        work: Callable[[Batch], torch.Tensor],
        batch: Batch,
        forget: Callable[[], None],
        before: Sequence[Batch] = (),
    ) -> torch.Tensor:
        """
        Works on a batch.

        Work that ran out of memory may have left a part of its gradient behind. So all gradients are forgotten then,
        and whatever gave rise to them is done again, in portions that fit.

        Args:
            work (`Callable[[Batch], torch.Tensor]`): What there is to do with a batch or a part of it; the values that
                it gives for the parts add up to that of the whole.
            batch (`Batch`): Tensors, of which the first dimension is the batch.
            forget (`Callable[[], None]`): Clears all gradients.
            before (`Sequence[Batch]`, *optional*): The batches that gave rise to the gradients there are.

        Returns:
            `torch.Tensor`: The sum of what the work gave for the parts of `batch`.

        Raises:
            TrainingError: A single row does not fit, or there are several processes.
        """
        value = self._sum(work, batch)
        while value is None:
            forget()
            free_device_memory()
            if all(self._sum(work, each) is not None for each in before):
                value = self._sum(work, batch)
        return value

    def parts(self, batch: Batch) -> list[Batch]:
        """A batch in as few parts as seem to fit; one of a single row is never cut."""
        if size(batch) < self.too_large or rows(batch) == 1:
            return [batch]
        return [part for half in halved(batch) for part in self.parts(half)]

    def _sum(self, work: Callable[[Batch], torch.Tensor], batch: Batch) -> torch.Tensor | None:
        """Of what the work gives for all parts; nothing when memory runs out."""
        total = None
        for part in self.parts(batch):
            value = self._attempt(work, part)
            if value is None:
                return None
            total = value if total is None else total + value
        return total

    def _attempt(self, work: Callable[[Batch], torch.Tensor], part: Batch) -> torch.Tensor | None:
        # Nothing of the error is kept: its traceback would hold on to all that was computed.
        try:
            return work(part)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        longest = f"of {part[SECONDS].max():.1f} s" if SECONDS in part else "of a batch"
        if self.processes > 1:
            raise TrainingError(
                f"{self.what}: out of memory on {rows(part)} clips, the longest {longest}; {self.processes} processes"
                f" cannot go back: {ADVICE}, and give the command again to go on from the last checkpoint"
            )
        if rows(part) == 1:
            raise TrainingError(f"{self.what}: out of memory on a single clip {longest}; {OF_ONE_CLIP}")
        if self.too_large == math.inf:
            say(f"Out of memory in {self.what} on {rows(part)} clips, the longest {longest}: taken in halves")
        self.too_large = min(self.too_large, size(part))
        return None


def rows(batch: Batch) -> int:
    """Clips of a batch."""
    return batch["labels"].shape[0]


def size(batch: Batch) -> int:
    """Elements of all tensors of a batch, padding counted."""
    return sum(value.numel() for value in batch.values() if torch.is_tensor(value))


def halved(batch: Batch) -> tuple[Batch, Batch]:
    """The first and the second half of the rows, as views."""
    middle = rows(batch) // 2

    def some(which: slice) -> Batch:
        return {key: value[which] if torch.is_tensor(value) else value for key, value in batch.items()}

    return some(slice(None, middle)), some(slice(middle, None))
