"""Coordinate processes and threads of one command, show their progress, and say what they run on."""

import os
import re
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from rich.console import Console
from rich.progress import track as rich_track

from escoita.errors import EscoitaError
from escoita.utils.files import clear_write_errors


if TYPE_CHECKING:
    from accelerate import PartialState


T = TypeVar("T")
# What errors say when memory ran out, besides torch's own class for it.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
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
    (message, *_) = gathered(str(refusal) if refusal else None, state)
    if message is not None:
        raise refusal or EscoitaError(message)
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
    message, result = gathered((str(refusal) if refusal else None, done), state)[0]
    if message is not None:
        raise refusal or EscoitaError(message)
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


def destroy_process_group() -> None:
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


Item = TypeVar("Item")
console = Console(stderr=True)


def is_main_process() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started: the one that speaks."""
    return os.environ.get("RANK", "0") == "0"


def say(line: str) -> None:
    """One line of the log, as it is: not wrapped, so that paths can be copied."""
    if not is_main_process():
        return
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def track(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """Passes the items on while a bar counts them up to `total`; where there is no terminal, one line at the end."""
    if console.is_terminal and is_main_process():
        yield from rich_track(items, description=title, total=total, console=console, transient=True)
    else:
        yield from items
        say(f"{title}: {total}")


def device() -> str:
    """`cuda`, with the number of this process' GPU where several processes run on one machine; else `cpu`."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{rank}" if rank else "cuda"


def device_name(device: str) -> str:
    """The GPU as its driver calls it, or `cpu`."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def peak_memory_bytes() -> int:
    """Peak memory of the GPU where there is one, else peak resident memory of this process."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    with suppress(OSError):
        # Not by `getrusage`, whose peak is that of the program too that started this one, and cannot begin anew.
        if found := re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()):
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak_memory() -> None:
    """Lets the peak begin anew at what is taken now; without a GPU, on Linux alone."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of a GPU or of the machine."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def free_device_memory() -> None:
    """Collect unreachable tensors, and return to the accelerator the memory that torch keeps for reuse."""
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)


Result = TypeVar("Result")


def ahead(items: Iterator[Result], depth: int) -> Iterator[Result]:
    """
    Passes the items on while a thread makes the next ones.

    Args:
        items (`Iterator[Result]`): Advanced by the thread alone; what it raises is raised here, in its turn.
        depth (`int`): Most items that wait to be taken.
    """
    end = object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, items, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield item  # type: ignore[misc]
