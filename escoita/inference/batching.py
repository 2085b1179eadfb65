"""What is heard together: recordings, or parts of them, of like length."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Protocol, TypeVar


# Of parts that are heard together for visitors: rows wait for the one that says most.
MOST_ROWS = 32
# The longest may be so many times as long as the shortest, or so many seconds longer.
LIKE_FACTOR, LIKE_SECONDS = 2.0, 4.0


class Waiting(Protocol):
    """A part of a recording that waits to be heard."""

    @property
    def seconds(self) -> float:
        """Its length."""

    @property
    def together(self) -> Hashable:
        """What those that are heard together have in common: adapter and prompt."""


RequestSegment = TypeVar("RequestSegment", bound=Waiting)


def batches_by_seconds(lengths: Sequence[float], budget: float) -> Iterator[list[int]]:
    """
    Indices in batches of like length, the longest first, so that what will not fit in memory fails at once.

    Args:
        lengths (`Sequence[float]`): Of the clips, in seconds.
        budget (`float`): Most seconds in a batch, padding counted; a longer clip is a batch of its own.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def batches_by_language(
    lengths: Sequence[float], languages: Sequence[str], budget: float
) -> Iterator[tuple[str, list[int]]]:
    """
    Yield batches of one language each, all of a language one after another, the language with the longest clip first.

    Args:
        lengths (`Sequence[float]`): Of the clips, in seconds.
        languages (`Sequence[str]`): Of the same clips.
        budget (`float`): Most seconds in a batch, padding counted; a longer clip is a batch of its own.

    Returns:
        `Iterator[tuple[str, list[int]]]`: The language of each batch, and the indices of its clips.
    """
    longest = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for language in dict.fromkeys(languages[index] for index in longest):
        mine = [index for index in range(len(lengths)) if languages[index] == language]
        for batch in batches_by_seconds([lengths[index] for index in mine], budget):
            yield language, [mine[place] for place in batch]


def next_batch(waiting: Sequence[RequestSegment], budget: float, most: int = MOST_ROWS) -> list[RequestSegment]:
    """
    Chooses the next batch: the segment whose turn it is, and of the others those that fit to it.

    Args:
        waiting (`Sequence[RequestSegment]`): At least one, sorted by [`~escoita.inference.fairness.FairOrder`].
        budget (`float`): Most seconds in a batch, padding counted; a longer part is a batch of its own.
        most (`int`, *optional*, defaults to 32): Most parts in a batch.
    """
    first, *others = waiting
    batch, shortest, longest = [first], first.seconds, first.seconds
    for part in others:
        if len(batch) == most:
            break
        low, high = min(shortest, part.seconds), max(longest, part.seconds)
        like = high <= max(LIKE_FACTOR * low, low + LIKE_SECONDS)
        if part.together == first.together and like and (len(batch) + 1) * high <= budget:
            batch.append(part)
            shortest, longest = low, high
    return batch
