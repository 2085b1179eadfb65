"""Measure wall-clock time and CPU time; other processes on the machine affect CPU time less."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar


T = TypeVar("T")


@dataclass(frozen=True)
class Spent:
    """
    Store the duration of a piece of work.

    Args:
        wall (`float`): Wall-clock time in seconds.
        cpu (`float`): CPU time of all threads of this process in seconds.
    """

    wall: float
    cpu: float

    def __mul__(self, factor: float) -> "Spent":
        return Spent(self.wall * factor, self.cpu * factor)


def timed(work: Callable[[], T]) -> tuple[T, Spent]:
    """Call a function; return its result and its duration."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, Spent(time.perf_counter() - wall, time.process_time() - cpu)
