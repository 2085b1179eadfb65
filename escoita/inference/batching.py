"""Form batches of recordings, or of their segments, of similar length."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Protocol, TypeVar


# The most segments in a batch of requests: all rows wait for the longest transcript.
MAX_ROWS = 32
# The largest accepted ratio, or else difference in seconds, of the longest to the shortest segment in a batch.
LENGTH_FACTOR, LENGTH_SECONDS = 2.0, 4.0


class Waiting(Protocol):
    """Represent a segment of a recording that waits to be transcribed."""

    @property
    def seconds(self) -> float:
        """Return the length, in seconds."""

    @property
    def batch_key(self) -> Hashable:
        """Return the adapter and the prompt, which are the same for all segments of a batch."""


RequestSegment = TypeVar("RequestSegment", bound=Waiting)


def batches_by_seconds(lengths: Sequence[float], budget: float) -> Iterator[list[int]]:
    """
    Yield batches of clips of similar length, the longest first, so that a lack of memory shows at the start.

    Args:
        lengths (`Sequence[float]`): The lengths of the clips, in seconds.
        budget (`float`): The most seconds in a batch, including padding; a longer clip is a batch of its own.

    Returns:
        `Iterator[list[int]]`: The indices of the clips of each batch.
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
    Yield batches of one language each, one language after the other, the language with the longest clip first.

    Args:
        lengths (`Sequence[float]`): The lengths of the clips, in seconds.
        languages (`Sequence[str]`): The languages of the clips.
        budget (`float`): The most seconds in a batch, including padding; a longer clip is a batch of its own.

    Returns:
        `Iterator[tuple[str, list[int]]]`: The language of each batch, and the indices of its clips.
    """
    longest = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for language in dict.fromkeys(languages[index] for index in longest):
        own = [index for index in range(len(lengths)) if languages[index] == language]
        for batch in batches_by_seconds([lengths[index] for index in own], budget):
            yield language, [own[position] for position in batch]


def next_batch(waiting: Sequence[RequestSegment], budget: float, max_rows: int = MAX_ROWS) -> list[RequestSegment]:
    """
    Select the next batch: the first segment, and those of the others that can be batched with it.

    Args:
        waiting (`Sequence[RequestSegment]`): The segments, at least one, sorted by
            [`~escoita.inference.fairness.FairOrder`].
        budget (`float`): The most seconds in a batch, including padding; a longer segment is a batch of its own.
        max_rows (`int`, *optional*, defaults to 32): The most segments in a batch.
    """
    first, *others = waiting
    batch, shortest, longest = [first], first.seconds, first.seconds
    for segment in others:
        if len(batch) == max_rows:
            break
        low, high = min(shortest, segment.seconds), max(longest, segment.seconds)
        similar = high <= max(LENGTH_FACTOR * low, low + LENGTH_SECONDS)
        if segment.batch_key == first.batch_key and similar and (len(batch) + 1) * high <= budget:
            batch.append(segment)
            shortest, longest = low, high
    return batch
