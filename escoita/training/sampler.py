"""Order clips into batches of similar length; the order is the same if a run resumes."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from escoita.errors import RecipeError


STRATEGIES = ("group_by_length", "random", "sequential")
# The number of steps whose clips are sorted together. Larger pools need less padding but combine the same clips more
# often, so an epoch has at least `MIN_POOLS` pools.
POOL_STEPS = 50
MIN_POOLS = 3


class Batches(Sampler[list[int]]):
    """
    Yield the batches of one process, which depend only on seed and epoch.

    The clips of an optimizer step are the same for any number of processes and any batch size: two processes with
    batches of 8 take the same clips as one process with batches of 16. An epoch holds all clips. With several
    processes the last batches may have different sizes; if fewer clips than processes are left, some clips are
    repeated.

    Args:
        lengths (`np.ndarray`): The lengths of all clips in any unit, of shape `(clips,)`.
        batch_size (`int`): The number of clips in a batch of one process.
        accumulation (`int`, *optional*, defaults to 1): The number of batches of a process in an optimizer step.
        strategy (`str`, *optional*, defaults to `"group_by_length"`): One of `STRATEGIES`, from
            `training.train_sampling_strategy`.
        seed (`int`, *optional*, defaults to 0): The random seed.
        processes (`int`, *optional*, defaults to 1): The number of processes that train together.
        rank (`int`, *optional*, defaults to 0): The rank of this process.
        drop_last (`bool`, *optional*, defaults to `False`): Drop the last batch of an epoch if it is not full.

    Raises:
        RecipeError: The strategy is unknown, or there is not one full batch.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_size: int,
        accumulation: int = 1,
        strategy: str = "group_by_length",
        seed: int = 0,
        processes: int = 1,
        rank: int = 0,
        drop_last: bool = False,
    ):
        if strategy not in STRATEGIES:
            hint = f"use one of {', '.join(STRATEGIES)}"
            raise RecipeError("unknown strategy", key="training.train_sampling_strategy", value=strategy, hint=hint)
        self.lengths, self.strategy, self.seed = np.asarray(lengths), str(strategy), seed
        self.batch_size, self.accumulation = batch_size, accumulation
        self.processes, self.rank = processes, rank
        self.used = len(lengths) - len(lengths) % (batch_size * processes) if drop_last else len(lengths)
        if not self.used:
            problem = f"{len(lengths)} clips are fewer than one batch of {batch_size * processes}"
            raise RecipeError(problem, key="training.dataloader_drop_last", hint="leave it out")
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0, whose batches are yielded next; Trainer calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.used // (self.batch_size * self.processes))

    def __iter__(self) -> Iterator[list[int]]:
        of_all = self.batch_size * self.processes
        order = self.order()[: self.used]
        for start in range(0, len(order), of_all):
            yield share(order[start : start + of_all], self.batch_size, self.processes, self.rank).tolist()

    def order(self) -> np.ndarray:
        """Return the indices of all clips in the order of this epoch."""
        if self.strategy == "sequential":
            return np.arange(len(self.lengths))
        generator = np.random.default_rng([self.seed, self.epoch])
        shuffled = generator.permutation(len(self.lengths))
        if self.strategy == "random":
            return shuffled
        step = self.batch_size * self.processes * self.accumulation
        return grouped(self.lengths, shuffled, step, generator, longest_first=self.epoch == 0)


def grouped(
    lengths: np.ndarray, shuffled: np.ndarray, step: int, generator: np.random.Generator, longest_first: bool
) -> np.ndarray:
    """
    Group clips of similar length into steps, and order the steps randomly.

    Args:
        lengths (`np.ndarray`): The lengths of all clips, of shape `(clips,)`.
        shuffled (`np.ndarray`): The indices of the clips in random order, of the same shape.
        step (`int`): The number of clips in an optimizer step of all processes.
        generator (`np.random.Generator`): The generator for the order of the steps.
        longest_first (`bool`): Whether to begin with the step that holds the longest clip, so that a clip which does
            not fit in memory fails at once.

    Returns:
        `np.ndarray`: The indices of the clips, in each step the longest first; an incomplete step is the last.
    """
    full_steps = len(shuffled) - len(shuffled) % step
    pool = step * max(1, min(POOL_STEPS, full_steps // (step * MIN_POOLS)))
    # The clips of the incomplete step are random ones, not the shortest of all.
    pools = [shuffled[start : min(start + pool, full_steps)] for start in range(0, full_steps, pool)]
    by_length = [clips[np.argsort(-lengths[clips], kind="stable")] for clips in [*pools, shuffled[full_steps:]]]
    *full, rest = by_length
    if not full:
        return rest
    steps = np.concatenate(full).reshape(-1, step)
    steps = steps[generator.permutation(len(steps))]
    if longest_first:
        first = int(np.argmax(lengths[steps[:, 0]]))
        steps[[0, first]] = steps[[first, 0]]
    return np.concatenate([steps.ravel(), rest])


def share(clips: np.ndarray, batch_size: int, processes: int, rank: int) -> np.ndarray:
    """
    Return the clips of one process among those that all processes take at the same time.

    Args:
        clips (`np.ndarray`): The indices of at most `batch_size * processes` clips.
        batch_size (`int`): The number of clips in a full batch.
        processes (`int`): The number of processes that train together; each gets at least one clip.
        rank (`int`): The rank of this process.
    """
    if len(clips) == batch_size * processes:
        return clips[rank * batch_size : (rank + 1) * batch_size]
    if len(clips) < processes:
        clips = np.resize(clips, processes)
    return np.array_split(clips, processes)[rank]


def data_seed(arguments: Any) -> int:
    """Return the seed for order and selection of data: `data_seed` of SFTConfig, or else `seed`."""
    return arguments.seed if arguments.data_seed is None else arguments.data_seed


def longest_first(lengths: Sequence[int] | np.ndarray) -> list[int]:
    """Return the indices of all clips by length, the longest first, for evaluations with little padding."""
    return np.argsort(-np.asarray(lengths), kind="stable").tolist()


def padding_share(lengths: np.ndarray, batches: list[list[int]]) -> float:
    """
    Return the share of padding in batches.

    Args:
        lengths (`np.ndarray`): The lengths of all clips.
        batches (`list[list[int]]`): The indices of the clips of each batch.

    Returns:
        `float`: The padding as a fraction of the padded length.
    """
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    return 1 - sum(lengths[batch].sum() for batch in batches) / padded
