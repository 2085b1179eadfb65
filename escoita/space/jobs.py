"""Transcribe on the server independently of the connection, so that a visitor can pick up a transcription again."""

import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar


Result = TypeVar("Result")
# Seconds for which a job is kept after its end; recordings are deleted after the same time.
KEPT_SECONDS = 1_200.0


@dataclass
class Job(Generic[Result]):
    """
    Hold a transcription that runs on its own thread.

    Args:
        id (`str`): A random name that only the visitor knows.
        recording (`str`): The path of the recording.
        partial (`Result`, *optional*): The newest result.
        error (`Exception`, *optional*): The reason for which the transcription failed.
        ended (`float`, *optional*): The time of the end, of `time.monotonic`; `None` while it runs.
        stopped (`bool`, *optional*, defaults to `False`): Whether the visitor has stopped it.
    """

    id: str
    recording: str
    partial: Result | None = None
    error: Exception | None = None
    ended: float | None = None
    stopped: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def run(self, stream: Generator[Result, None, None]) -> None:
        """
        Transcribe until the end, or until the job is stopped.

        Args:
            stream (`Generator`): The partial results; closing it releases the place in the queue.
        """
        try:
            with closing(stream):
                for partial in stream:
                    with self._changed:
                        self.partial = partial
                        self._changed.notify_all()
                    if self.stopped:
                        break
        except Exception as error:
            self.error = error
        finally:
            with self._changed:
                self.ended = time.monotonic()
                self._changed.notify_all()

    def follow(self) -> Iterator[Result]:
        """
        Yield the newest result whenever it changes, until the end. Leaving the iterator does not stop the job.

        Raises:
            Exception: The transcription failed.
        """
        seen: Result | None = None
        while True:
            with self._changed:
                while self.ended is None and self.partial is seen:
                    self._changed.wait()
                partial = self.partial
            if partial is None or partial is seen:
                break
            seen = partial
            yield partial
        if self.error is not None and not self.stopped:
            raise self.error

    def stop(self) -> None:
        """Stop after the next result, and let those who follow it leave at once."""
        self.stopped = True


class Jobs:
    """Hold the transcriptions of all visitors, and forget them some time after their end."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job[Any]] = {}
        self._lock = threading.Lock()

    def start(self, recording: str, transcribe: Callable[[], Generator[Result, None, None]]) -> Job[Result]:
        """
        Start a transcription on a thread of its own.

        Args:
            recording (`str`): The path of the recording.
            transcribe (`Callable`): The function that returns the partial results.
        """
        job: Job[Result] = Job(secrets.token_urlsafe(18), recording)
        with self._lock:
            self._jobs = {name: each for name, each in self._jobs.items() if not _is_over(each)}
            self._jobs[job.id] = job
        # ZeroGPU finds the visitor, whose quota it uses, in the context.
        run = copy_context().run
        threading.Thread(target=run, args=(job.run, transcribe()), name="escoita-job", daemon=True).start()
        return job

    def find(self, name: object) -> Job[Any] | None:
        """Return a job by its `id`; `None` if there is none, or if it ended long ago."""
        with self._lock:
            job = self._jobs.get(name) if isinstance(name, str) else None
        return None if job is None or _is_over(job) else job


def _is_over(job: Job[Any]) -> bool:
    return job.ended is not None and time.monotonic() - job.ended > KEPT_SECONDS
