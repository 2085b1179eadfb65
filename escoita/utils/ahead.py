"""Work that is done on another thread before it is asked for."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar


T = TypeVar("T")


def ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """
    Passes the items on while a thread makes the next ones.

    Args:
        items (`Iterator[T]`): Advanced by the thread alone; what it raises is raised here, in its turn.
        depth (`int`): Most items that wait to be taken.
    """
    end = object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, items, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield item  # type: ignore[misc]
