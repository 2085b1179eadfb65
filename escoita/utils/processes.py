"""Coordinate the processes and threads of a command, print progress, and report devices and memory."""

import errno
import functools
import os
import re
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from threading import Timer
from typing import IO, TYPE_CHECKING, TypeVar, cast

from rich.console import Console
from rich.progress import track as rich_track
from rich.text import Text

from escoita.errors import EscoitaError
from escoita.utils.files import convert_write_errors
from escoita.utils.progress_bars import above_bars


if TYPE_CHECKING:
    from accelerate import PartialState


T = TypeVar("T")
# Parts of out-of-memory messages that are not raised as torch's own class, in lower case.
OUT_OF_MEMORY = (
    "out of memory",  # CUDA, HIP, XPU, MPS; also CUDA's error 2 within errors of cuDNN, NCCL and bitsandbytes
    "not enough memory",  # torch's allocator for CPUs on Windows
    "can't allocate memory",  # torch's allocator for CPUs
    "cannot allocate memory",  # the system, errno 12
    "cudaerrormemoryallocation",
    "status_alloc_failed",  # cuBLAS, cuDNN, cuFFT, cuSOLVER, cuSPARSE
    "cufft_alloc_failed",
    # torch asks the driver for the memory in use when it writes its message, and some containers do not allow that.
    "nvml_success == r internal assert failed",
)
# The time after which torch stops processes of which one does not take part in a common operation, in training and
# evaluation. Waiting for the main process has no limit; see [`main_first`].
PROCESS_TIMEOUT = timedelta(hours=2)
# Seconds for threads to release tensors; without it, two processes on a machine under load hung.
SECONDS_TO_RELEASE = 0.5
# Seconds between two looks whether the main process is done.
SECONDS_BETWEEN_LOOKS = 0.2
# Seconds after which a stage is mentioned in a log.
SECONDS_UNTIL_SHOWN = 1.0


def main_first(work: Callable[[], T], state: "PartialState") -> T:
    """
    Run a function in the main process first, and then in the other processes, which can use its caches.

    Args:
        work (`Callable[[], T]`): The function that every process runs.
        state (`PartialState`): The processes, of accelerate.

    Raises:
        EscoitaError: The function failed in the main process; raised in every process.
    """
    if state.num_processes == 1:
        return work()
    done, refusal = _tried_in_main(work, state)
    (message, *_) = gathered(str(refusal) if refusal else None, state)
    if message is not None:
        raise refusal or EscoitaError(message)
    return cast(T, done) if state.is_main_process else work()


def _tried_in_main(work: Callable[[], T], state: "PartialState") -> tuple[T | None, EscoitaError | None]:
    """Return the result of a function or its error in the main process, for which the others wait."""
    with others_waiting(state):
        if state.is_main_process:
            try:
                return work(), None
            except EscoitaError as error:
                return None, error
    return None, None


def main_only(work: Callable[[], T], state: "PartialState") -> T:
    """
    Run a function only in the main process, and return its result in all processes.

    Args:
        work (`Callable[[], T]`): The function that the main process runs.
        state (`PartialState`): The processes, of accelerate.

    Raises:
        EscoitaError: The function failed; raised in every process.
    """
    done, refusal = _tried_in_main(work, state)
    message, result = gathered((str(refusal) if refusal else None, done), state)[0]
    if message is not None:
        raise refusal or EscoitaError(message)
    return cast(T, result)


# The number of the next wait, which is the same in all processes.
_waits = count()


@contextmanager
def others_waiting(state: "PartialState") -> Iterator[None]:
    """
    Let the other processes wait at the end of a block until the main process has left it, without a time limit.

    A common operation of torch would fail after [`PROCESS_TIMEOUT`], which the main process exceeds when it decodes a
    large corpus. The other processes therefore look into the store through which they found each other.

    Args:
        state (`PartialState`): The processes, of accelerate.

    Raises:
        EscoitaError: The main process failed; raised in the other processes.
    """
    from torch.distributed import distributed_c10d, is_initialized

    if state.num_processes == 1 or not is_initialized():
        yield
        return
    store, key = distributed_c10d._get_default_store(), f"escoita/wait/{next(_waits)}"
    outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        if state.is_main_process:
            store.set(key, outcome)
    if not state.is_main_process:
        while not store.check([key]):
            time.sleep(SECONDS_BETWEEN_LOOKS)
        if store.get(key) != b"done":
            raise EscoitaError("the main process failed; its error is above")


@contextmanager
def locked(path: Path, refusal: EscoitaError, state: "PartialState") -> Iterator[None]:
    """
    Hold a lock file, which the system releases when the process ends, even if it is killed.

    Args:
        path (`Path`): The lock file. It and its folder are created.
        refusal ([`~escoita.errors.EscoitaError`]): The error for every process if another command holds the lock.
        state (`PartialState`): The processes of the command; the main one holds the lock.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)

    def acquire() -> None:
        with convert_write_errors(path):
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
def print_process_error(state: "PartialState") -> Iterator[None]:
    """Print an error that occurs in a process other than the main one, whose errors the command prints."""
    try:
        yield
    except EscoitaError as error:
        if not state.is_main_process:
            print(f"escoita: process {state.process_index}: {error}", file=sys.stderr)
        raise


def gathered(value: T, state: "PartialState") -> list[T]:
    """Return the values of all processes in the order of their ranks."""
    from accelerate.utils import gather_object

    return gather_object([value]) if state.num_processes > 1 else [value]


def destroy_process_group() -> None:
    """
    Destroy the process group after a successful run, or after a run that all processes stopped together.

    A process that ends without it may abort, because threads of gloo outlive the objects that they use. It is not
    called after a failure, because processes may still wait for one another.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_initialized():
        # A thread of gloo releases the tensors of an operation after the operation returns, and needs Python's global
        # interpreter lock for it. The destructor of the group holds that lock and joins the thread.
        time.sleep(SECONDS_TO_RELEASE)
        distributed.destroy_process_group()


Item = TypeVar("Item")
console = Console(stderr=True)


def is_main_process() -> bool:
    """Return whether this process is the only one, or the first of those that torchrun started, which prints."""
    return os.environ.get("RANK", "0") == "0"


def say(line: str) -> None:
    """Print a log line in the main process, without wrapping, so that paths can be copied."""
    if not is_main_process():
        return
    with above_bars(console.file):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


@functools.cache
def say_once(line: str) -> None:
    """Print a log line, unless this process has printed it before."""
    say(line)


def track(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """Yield items with a progress bar up to `total`, or with one line at the start if there is no terminal."""
    if console.is_terminal and is_main_process():
        yield from rich_track(items, description=title, total=total, console=console, transient=True)
    else:
        say(f"{title}: {total}")
        yield from items


@contextmanager
def stage(title: str, spinner: bool = True) -> Iterator[None]:
    """
    Show what a command does: with a spinner on a terminal, else with one line if it takes more than a second.

    Args:
        title (`str`): The work, such as `Loading user/base`.
        spinner (`bool`, *optional*, defaults to `True`): Whether a terminal shows a spinner; `False` for work that may
            show a bar of its own, such as a download.
    """
    if not is_main_process():
        yield
    elif console.is_terminal and spinner:
        with console.status(Text(title)):
            yield
    else:
        # The stream of now: the work may redirect the standard error.
        timer = Timer(SECONDS_UNTIL_SHOWN, _print_above_bars, [title, console.file])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _print_above_bars(line: str, stream: IO[str]) -> None:
    with above_bars(stream):
        print(line, file=stream, flush=True)


def device() -> str:
    """Return `cuda`, with the GPU index of this process if several run on one machine, or `cpu`."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{rank}" if rank else "cuda"


def device_name(device: str) -> str:
    """Return the GPU name that the driver reports, or `cpu`."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def peak_memory_bytes() -> int:
    """Return the peak memory of the GPU, or the peak resident memory of this process without a GPU."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    with suppress(OSError):
        # The peak of `getrusage` includes the parent program and cannot be reset.
        if found := re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()):
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory() -> None:
    """Reset the peak memory to the current memory; without a GPU, only on Linux."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


@contextmanager
def without_compiler() -> Iterator[None]:
    """
    Import libraries without the compiler of torch, which takes a second.

    bitsandbytes, which PEFT imports, loads it for functions that are compiled when they are first called.
    """
    switch = "TORCHDYNAMO_DISABLE"
    before = os.environ.get(switch)
    os.environ[switch] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[switch]
        else:
            os.environ[switch] = before


def is_out_of_memory(error: BaseException) -> bool:
    """
    Return whether an error reports that a GPU or the machine is out of memory.

    Errors have many classes: torch's own, those of the libraries that it calls, NumPy's and the system's.

    Args:
        error (`BaseException`): The error, or an error that was raised because of it.
    """
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    message = str(error).lower()
    return any(words in message for words in OUT_OF_MEMORY)


def free_device_memory() -> None:
    """Collect unreachable tensors, and return to the accelerator the memory that torch keeps for reuse."""
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)


Result = TypeVar("Result")


def ahead(items: Iterator[Result], depth: int) -> Iterator[Result]:
    """
    Yield items while a thread prefetches the next ones.

    Args:
        items (`Iterator[Result]`): The items. Only the thread advances the iterator; its errors are raised here.
        depth (`int`): The number of prefetched items.
    """
    end = object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, items, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield item  # type: ignore[misc]
