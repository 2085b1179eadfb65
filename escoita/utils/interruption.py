"""Handle SIGINT and SIGTERM: commands stop with a message and an exit status; training finishes its step first."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from escoita.utils.processes import is_main_process


SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds in which a second signal counts as the same request: `timeout`, torchrun and SLURM may send each one twice.
SAME_REQUEST = 1.0


class Interrupted(BaseException):
    """
    Report that a signal stopped the command. It is not an `Exception`, so that error handlers do not catch it.

    Args:
        signum (`int`): The signal number.
        message (`str`, *optional*): The message for the user. Defaults to the name of the signal and advice.
    """

    def __init__(self, signum: int, message: str | None = None):
        name = signal.Signals(signum).name
        super().__init__(message or f"stopped by {name}; run the same command again to continue")
        self.signum = signum

    @property
    def status(self) -> int:
        """Return the exit status: 130 after SIGINT, 143 after SIGTERM."""
        return 128 + self.signum


class StopRequest:
    """Store a signal that is acted on later, at the end of a training step or of a validation batch."""

    def __init__(self) -> None:
        self.signum: int | None = None

    @contextmanager
    def deferring(self) -> Iterator[Self]:
        """Record the first signal instead of raising [`Interrupted`]; a second one ends the process at once."""

        def record(signum: int) -> None:
            self.signum = signum
            if is_main_process():
                name = signal.Signals(signum).name
                line = f"{name}: finishing this step and writing a checkpoint; another signal stops at once\n"
                os.write(2, line.encode())  # not print: the signal may have come in the middle of another print

        with _handled(record):
            yield self


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise [`Interrupted`] in the main thread, even if the shell ignores SIGINT."""

    def interrupt(signum: int) -> None:
        raise Interrupted(signum)

    with _handled(interrupt):
        yield


def shield_worker(_: int) -> None:
    """
    Keep a worker process of a `DataLoader` alive when a signal is sent to all processes of a run.

    The main process needs its workers until the end of the step, and then terminates them. Signals of other processes
    are ignored.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":  # other systems do not report the sender
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


@contextmanager
def _handled(first: Callable[[int], None]) -> Iterator[None]:
    """Call `first` with the first signal; a later signal ends the process without any cleanup."""
    owner = os.getpid()
    received: float | None = None

    def handle(signum: int, _: object) -> None:
        nonlocal received
        if os.getpid() != owner:  # a worker that was forked from this process
            return
        if received is None:
            received = time.monotonic()
            first(signum)
        elif time.monotonic() - received > SAME_REQUEST:
            os._exit(128 + signum)

    before = {signum: signal.signal(signum, handle) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, previous in before.items():
            signal.signal(signum, previous)
