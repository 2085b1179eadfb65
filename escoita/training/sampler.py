"""In which order clips are heard: like lengths together, and the same order again whenever a run goes on."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from escoita.errors import RecipeError


STRATEGIES = ("group_by_length", "random", "sequential")
# Steps whose clips are sorted together. More of them leave less padding, and meet the same neighbours more often; so
# an epoch is cut into several pools at least.
POOL_STEPS = 50
LEAST_POOLS = 3


class Batches(Sampler[list[int]]):
    """
    The batches of one process, drawn by seed and epoch alone.

    The clips of an optimizer step are the same however many processes share it, and however it is cut into batches:
    what two processes take with batches of 8 is what one takes with batches of 16. An epoch holds all clips. With
    several processes its last batches may be unequal; where fewer clips than processes are left for them, some come
    twice.

    Args:
        lengths (`np.ndarray`): Of all clips, in any unit, shape `(clips,)`.
        batch_size (`int`): Clips of a batch of one process.
        accumulation (`int`, *optional*, defaults to 1): Batches of a process in an optimizer step.
        strategy (`str`, *optional*, defaults to `"group_by_length"`): One of `STRATEGIES`, as
            `training.train_sampling_strategy` says.
        seed (`int`, *optional*, defaults to 0): Of all draws.
        processes (`int`, *optional*, defaults to 1): That train together.
        rank (`int`, *optional*, defaults to 0): Which of them this is.
        drop_last (`bool`, *optional*, defaults to `False`): Leave out the last batch of an epoch where it is not full.

    Raises:
        RecipeError: There is no such strategy, or not a single batch.
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
            raise RecipeError(f"training.train_sampling_strategy: there are {', '.join(STRATEGIES)}, not {strategy!r}")
        self.lengths, self.strategy, self.seed = np.asarray(lengths), str(strategy), seed
        self.batch_size, self.accumulation = batch_size, accumulation
        self.processes, self.rank = processes, rank
        self.used = len(lengths) - len(lengths) % (batch_size * processes) if drop_last else len(lengths)
        if not self.used:
            raise RecipeError(
                f"training.dataloader_drop_last: {len(lengths)} clips are less than one batch of"
                f" {batch_size * processes}; leave it out"
            )
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, counted from 0, whose batches come next; called by Trainer."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.used // (self.batch_size * self.processes))

    def __iter__(self) -> Iterator[list[int]]:
        together = self.batch_size * self.processes
        order = self.order()[: self.used]
        for start in range(0, len(order), together):
            yield share(order[start : start + together], self.batch_size, self.processes, self.rank).tolist()

    def order(self) -> np.ndarray:
        """All clips in the order of this epoch."""
        if self.strategy == "sequential":
            return np.arange(len(self.lengths))
        draw = np.random.default_rng([self.seed, self.epoch])
        shuffled = draw.permutation(len(self.lengths))
        if self.strategy == "random":
            return shuffled
        step = self.batch_size * self.processes * self.accumulation
        return grouped(self.lengths, shuffled, step, draw, longest_first=self.epoch == 0)


def grouped(
    lengths: np.ndarray, shuffled: np.ndarray, step: int, draw: np.random.Generator, longest_first: bool
) -> np.ndarray:
    """
    Brings clips of like length together in steps, and these into an order in which length says nothing.

    Args:
        lengths (`np.ndarray`): Of all clips, of shape `(clips,)`.
        shuffled (`np.ndarray`): The clips in random order, of the same shape.
        step (`int`): Clips of an optimizer step of all processes.
        draw (`np.random.Generator`): Of the order of steps.
        longest_first (`bool`): Begin with the step that holds the longest clip, so that what does not fit in memory
            fails at once.

    Returns:
        `np.ndarray`: The clips; within a step the longest first. A step that is not full is the last.
    """
    whole = len(shuffled) - len(shuffled) % step
    pool = step * max(1, min(POOL_STEPS, whole // (step * LEAST_POOLS)))
    # The clips that do not fill a step are random ones, not the shortest of all.
    pools = [shuffled[start : min(start + pool, whole)] for start in range(0, whole, pool)]
    by_length = [clips[np.argsort(-lengths[clips], kind="stable")] for clips in [*pools, shuffled[whole:]]]
    *full, rest = by_length
    if not full:
        return rest
    steps = np.concatenate(full).reshape(-1, step)
    steps = steps[draw.permutation(len(steps))]
    if longest_first:
        first = int(np.argmax(lengths[steps[:, 0]]))
        steps[[0, first]] = steps[[first, 0]]
    return np.concatenate([steps.ravel(), rest])


def share(clips: np.ndarray, batch_size: int, processes: int, rank: int) -> np.ndarray:
    """
    What one process takes of the clips that all of them hear at the same time.

    Args:
        clips (`np.ndarray`): At most `batch_size * processes` of them.
        batch_size (`int`): Clips of a full batch.
        processes (`int`): That train together; none goes without a clip.
        rank (`int`): Which of them this is.
    """
    if len(clips) == batch_size * processes:
        return clips[rank * batch_size : (rank + 1) * batch_size]
    if len(clips) < processes:
        clips = np.resize(clips, processes)
    return np.array_split(clips, processes)[rank]


def data_seed(arguments: Any) -> int:
    """Of all that is drawn of data, their order and their share: `data_seed` of SFTConfig, or else `seed`."""
    return arguments.seed if arguments.data_seed is None else arguments.data_seed


def longest_first(lengths: Sequence[int] | np.ndarray) -> list[int]:
    """All clips by length, the longest first: each evaluation hears the same batches, with little padding."""
    return np.argsort(-np.asarray(lengths), kind="stable").tolist()


def padding_share(lengths: np.ndarray, batches: list[list[int]]) -> float:
    """
    How much of the batches is padding.

    Args:
        lengths (`np.ndarray`): Of all clips.
        batches (`list[list[int]]`): Clips of each batch.

    Returns:
        `float`: A fraction.
    """
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    return 1 - sum(lengths[batch].sum() for batch in batches) / padded
