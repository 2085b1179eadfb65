"""How long work takes: the clock of the wall, and that of the processor, which others on the machine disturb less."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar


T = TypeVar("T")


@dataclass(frozen=True)
class Spent:
    """
    What a piece of work took.

    Args:
        wall (`float`): Seconds until it was done.
        cpu (`float`): Seconds of computing by all threads of this process.
    """

    wall: float
    cpu: float

    def __mul__(self, factor: float) -> "Spent":
        return Spent(self.wall * factor, self.cpu * factor)


def timed(work: Callable[[], T]) -> tuple[T, Spent]:
    """What work gives, and what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, Spent(time.perf_counter() - wall, time.process_time() - cpu)
