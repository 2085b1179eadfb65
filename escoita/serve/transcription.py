"""Transcribe a recording on a thread, for a request whose client may disconnect at any time."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from escoita.audio.loading import read_audible
from escoita.errors import EscoitaError
from escoita.inference.fairness import Client
from escoita.inference.serving import Engine
from escoita.inference.streaming import Partial
from escoita.serve.errors import RETRY_BUSY, ApiError
from escoita.serve.formats import TIMED, timed_file
from escoita.serve.parameters import Parameters


if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    from starlette.requests import Request

    from escoita.inference.outputs import TranscribedFile
    from escoita.serve.service import Service

Result = TypeVar("Result")
# The status under which requests of disconnected clients are counted; it is not sent.
CLIENT_DISCONNECTED = 499


class ClientDisconnectedError(Exception):
    """Report that a client closed its connection."""


class Job:
    """
    Run a transcription on a thread, from its creation on.

    Args:
        service ([`~escoita.serve.service.Service`]): The models and limits.
        parameters ([`~escoita.serve.parameters.Parameters`]): The fields of the request.
        path (`Path`): The recording.
        client ([`~escoita.inference.fairness.Client`]): The client that sent the request.
    """

    def __init__(self, service: "Service", parameters: Parameters, path: Path, client: Client):
        self._service, self._parameters, self._path = service, parameters, path
        self._listener = service.listener()
        adapter = parameters.model if parameters.model in service.adapters else None
        self._arguments = (path, adapter, None, client)
        self._limit, self.started = service.settings.max_seconds, time.monotonic()
        # The times of words and cues, before the last result if the format has them.
        self.file: TranscribedFile | None = None
        self._loop = asyncio.get_running_loop()
        self._results: asyncio.Queue[Partial | BaseException] = asyncio.Queue()
        self._lock, self._closed = threading.Lock(), False
        self._request: Any = None
        service.pool.submit(self._work)

    async def partials(self) -> AsyncIterator[Partial]:
        """
        Yield the partial transcript whenever it changes, for a stream; the last one contains the complete transcript.

        Raises:
            ApiError: The request exceeds the time limit.
            Exception: The error of the transcription.
        """
        while True:
            try:
                async with asyncio.timeout(self.started + self._limit - time.monotonic()):
                    result = await self._results.get()
            except TimeoutError as error:
                raise ApiError(
                    503, f"The request took longer than {self._limit:g} seconds.", "timeout", retry_after=RETRY_BUSY
                ) from error
            if isinstance(result, BaseException):
                raise result
            yield result
            if result.transcript is not None:
                return

    def close(self) -> None:
        """Stop the transcription, and free its place in the queue."""
        with self._lock:
            self._closed = True
            if self._request is not None:
                self._request.fail(ClientDisconnectedError())

    def _work(self) -> None:
        try:
            with closing(self._stream()) as partials:
                for partial in partials:
                    if self._closed:
                        return
                    if self._parameters.stream or partial.transcript is not None:
                        self._put(partial)
        except ClientDisconnectedError:
            return
        except BaseException as error:
            self._put(error)

    def _stream(self) -> "Generator[Partial, None, None]":
        language = self._parameters.language
        if not isinstance(self._listener, Engine):
            if language is not None:
                raise EscoitaError("not supported here", key="language", value=language, hint="leave it out")
            for partial in self._listener.stream(*self._arguments):
                if partial.transcript is not None and self._timed:
                    self._align(partial, read_audible(self._path, self._service.settings.max_minutes * 60).samples)
                yield partial
            return
        if self._closed:
            return
        with closing(self._listener.submit(*self._arguments, language)) as request:
            with self._lock:
                self._request = request
                if self._closed:
                    return
            for partial in request.partials():
                if partial.transcript is not None and self._timed:
                    self._align(partial, request.samples)
                yield partial

    @property
    def _timed(self) -> bool:
        return self._parameters.response_format in TIMED

    def _align(self, partial: Partial, samples: "np.ndarray") -> None:
        """Estimate the times of words and cues on this thread, because that takes seconds for an hour of speech."""
        assert partial.transcript is not None  # noqa: S101  the caller checked it
        language = self._parameters.language or self._service.language_of(self._parameters.model)
        self.file = timed_file(partial.transcript, samples, language, self._parameters.word_timestamps)

    def _put(self, result: Partial | BaseException) -> None:
        with suppress(RuntimeError):  # the server was stopped
            self._loop.call_soon_threadsafe(self._results.put_nowait, result)


async def unless_client_disconnects(request: "Request", work: Awaitable[Result]) -> Result:
    """
    Wait for a result while the client is connected. The body of the request must have been read.

    Args:
        request (`Request`): The request.
        work (`Awaitable`): The work, which is canceled if the client disconnects.

    Returns:
        `Result`: The result of the work.

    Raises:
        ClientDisconnectedError: The client closed its connection.
    """
    task = asyncio.ensure_future(work)
    disconnected = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnectedError
    finally:
        for each in (task, disconnected):
            each.cancel()
        await asyncio.gather(task, disconnected, return_exceptions=True)


async def _disconnected(request: "Request") -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
