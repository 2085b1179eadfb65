"""Several processes that share a piece of work: what one of them does before the others, and how all of them end."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from escoita.errors import EscoitaError
from escoita.utils.files import clear_write_errors


if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")
# For which threads that still release tensors are waited for; without it, two processes of a busy machine hung.
SECONDS_TO_RELEASE = 0.5


def main_first(work: Callable[[], T], state: "PartialState") -> T:
    """
    Lets the main process do a piece of work before the others do the same; where it is refused, all end alike.

    Args:
        work (`Callable[[], T]`): What every process does; the others find in caches what the main one put there.
        state (`PartialState`): The processes, of accelerate.

    Raises:
        EscoitaError: The main process refused.
    """
    if state.num_processes == 1:
        return work()
    refusal = None
    if state.is_main_process:
        try:
            done = work()
        except EscoitaError as error:
            refusal = error
    (said, *_) = gathered(refusal and str(refusal), state)
    if said is not None:
        raise refusal or EscoitaError(said)
    return done if state.is_main_process else work()


def main_only(work: Callable[[], T], state: "PartialState") -> T:
    """
    Let the main process alone do a piece of work, and give its result to all.

    Args:
        work (`Callable[[], T]`): What the main process does.
        state (`PartialState`): The processes, of accelerate.

    Raises:
        EscoitaError: The main process refused; raised on every process.
    """
    done: T | None = None
    refusal: EscoitaError | None = None
    if state.is_main_process:
        try:
            done = work()
        except EscoitaError as error:
            refusal = error
    said, result = gathered((refusal and str(refusal), done), state)[0]
    if said is not None:
        raise refusal or EscoitaError(said)
    return cast(T, result)


@contextmanager
def locked(path: Path, refusal: EscoitaError, state: "PartialState") -> Iterator[None]:
    """
    Hold a lock file, which the system releases when the process ends in whatever way.

    Args:
        path (`Path`): The lock file; it and its folder are made.
        refusal ([`~escoita.errors.EscoitaError`]): Raised on every process if another command holds the lock.
        state (`PartialState`): The processes that work together; the main one holds the lock for all.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)

    def acquire() -> None:
        with clear_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise refusal from None

    main_only(acquire, state)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def each_says_why(state: "PartialState") -> Iterator[None]:
    """Lets a process say what refuses its own share of the work: the main one, which speaks for all, cannot know."""
    try:
        yield
    except EscoitaError as error:
        if not state.is_main_process:
            print(f"escoita: process {state.process_index}: {error}", file=sys.stderr)
        raise


def gathered(value: T, state: "PartialState") -> list[T]:
    """What every process has, in the order of their ranks."""
    from accelerate.utils import gather_object

    return gather_object([value]) if state.num_processes > 1 else [value]


def leave() -> None:
    """
    Destroy the process group after a successful run, or after a run that all processes stopped together.

    A process that ends without it may abort: gloo's threads then outlive what they work on. After a failure it is left
    out, because the other processes may still wait for this one, and with NCCL this one for them.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_initialized():
        # A thread of gloo releases the tensors of an operation after it has answered, and needs Python's global lock
        # for it. The destructor of the group runs with that lock held, and joins the thread.
        time.sleep(SECONDS_TO_RELEASE)
        distributed.destroy_process_group()
