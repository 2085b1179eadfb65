"""Split a batch that does not fit in memory: the clips and the gradient stay the same, the portions get smaller."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from escoita.errors import TrainingError
from escoita.training.data_collator import SECONDS
from escoita.utils.processes import free_device_memory, is_out_of_memory, say


Batch = dict[str, Any]
SMALLER_BATCH = (
    "halve training.per_device_train_batch_size and double training.gradient_accumulation_steps, which keeps the"
    " effective batch size, or set training.gradient_checkpointing; then run the same command to resume from the last"
    " checkpoint"
)
SINGLE_CLIP = (
    "set training.gradient_checkpointing, or leave out the longest clips and give --accept-changed-data; or, with"
    " --restart, set load_in_4bit or use a smaller base"
)


class TrainingMemoryError(TrainingError):
    """
    Report that a training ran out of memory.

    Args:
        clips (`int`, *optional*): The number of clips of the batch; `None` if memory ran out outside of a batch.
        seconds (`float`, *optional*): The duration of its longest clip in seconds.
    """

    clips: int | None = None
    seconds: float | None = None


class BatchSplitter:
    """
    Run work on whole batches; if memory runs out, split the batch in halves and record the size that did not fit.

    Args:
        phase (`str`): The phase in which memory runs out, for messages, such as `training`.
        processes (`int`, *optional*, defaults to 1): The number of processes that train together. If there are
            several, running out of memory is an error, because the others wait for the gradients of this one.
    """

    def __init__(self, phase: str, processes: int = 1):
        self.phase, self.processes = phase, processes
        self.too_large: float = math.inf  # elements of the smallest batch of several rows that did not fit

    def run(
        self,
        work: Callable[[Batch], torch.Tensor],
        batch: Batch,
        clear_gradients: Callable[[], None],
        before: Sequence[Batch] = (),
    ) -> torch.Tensor:
        """
        Run work on a batch.

        Work that ran out of memory may have added a part of its gradient. Then all gradients are cleared, and the
        batches that contributed to them are processed again, in portions that fit.

        Args:
            work (`Callable[[Batch], torch.Tensor]`): The work on a batch or a part of it; the results of the parts add
                up to that of the batch.
            batch (`Batch`): Tensors whose first dimension is the batch.
            clear_gradients (`Callable[[], None]`): The function that clears all gradients.
            before (`Sequence[Batch]`, *optional*): The batches that contributed to the present gradients.

        Returns:
            `torch.Tensor`: The sum of the results of the parts of `batch`.

        Raises:
            TrainingMemoryError: A single row does not fit, or there are several processes.
        """
        value = self._sum(work, batch)
        while value is None:
            clear_gradients()
            free_device_memory()
            if all(self._sum(work, each) is not None for each in before):
                value = self._sum(work, batch)
        return value

    def parts(self, batch: Batch) -> list[Batch]:
        """Return a batch in as few parts as are expected to fit; a single row is never split."""
        if size(batch) < self.too_large or rows(batch) == 1:
            return [batch]
        return [part for half in halves(batch) for part in self.parts(half)]

    def _sum(self, work: Callable[[Batch], torch.Tensor], batch: Batch) -> torch.Tensor | None:
        """Return the sum of the results of all parts, or `None` if memory runs out."""
        total = None
        for part in self.parts(batch):
            value = self._attempt(work, part)
            if value is None:
                return None
            total = value if total is None else total + value
        return total

    def _attempt(self, work: Callable[[Batch], torch.Tensor], part: Batch) -> torch.Tensor | None:
        # The error is not kept because its traceback would keep all computed tensors in memory.
        try:
            return work(part)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        clips, seconds = rows(part), float(part[SECONDS].max()) if SECONDS in part else None
        longest = f", the longest of {seconds:.1f} s" if seconds is not None else ""
        message = f"out of memory on {clips} clip{'s' * (clips != 1)}{longest}"
        if self.processes > 1 or clips == 1:
            hint = SMALLER_BATCH if self.processes > 1 else SINGLE_CLIP
            raise TrainingMemoryError(message, key=self.phase, hint=hint, clips=clips, seconds=seconds)
        if self.too_large == math.inf:
            say(f"{self.phase}: {message}; splitting the batch")
        self.too_large = min(self.too_large, size(part))
        return None


def rows(batch: Batch) -> int:
    """Return the number of clips of a batch."""
    return batch["labels"].shape[0]


def size(batch: Batch) -> int:
    """Return the number of elements of all tensors of a batch, with padding."""
    return sum(value.numel() for value in batch.values() if torch.is_tensor(value))


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """Return the first and the second half of the rows as views."""
    middle = rows(batch) // 2

    def select(which: slice) -> Batch:
        arrays = (torch.Tensor, np.ndarray)
        return {key: value[which] if isinstance(value, arrays) else value for key, value in batch.items()}

    return select(slice(None, middle)), select(slice(middle, None))
