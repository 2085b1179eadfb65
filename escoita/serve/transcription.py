"""Transcribe one recording on a thread, for a request whose client may leave at any time."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from escoita.errors import EscoitaError
from escoita.inference.fairness import Client
from escoita.inference.serving import Engine
from escoita.inference.streaming import Partial
from escoita.serve.errors import RETRY_BUSY, ApiError


if TYPE_CHECKING:
    from collections.abc import Generator

    from starlette.requests import Request

    from escoita.serve.service import Service

Result = TypeVar("Result")
# How a client that left is counted; nobody gets this answer.
CLIENT_LEFT = 499


class ClientLeft(Exception):
    """Report that a client closed its connection."""


class Job:
    """
    A transcription on a thread of its own, started at once.

    Args:
        service ([`~escoita.serve.service.Service`]): Models and limits.
        path (`Path`): The recording.
        adapter (`str`, *optional*): The adapter (default: the base alone).
        language (`str`, *optional*): The language that the client named.
        client ([`~escoita.inference.fairness.Client`]): Who asks.
        whole (`bool`): Whether only the end is of interest.
    """

    def __init__(
        self,
        service: "Service",
        path: Path,
        adapter: str | None,
        language: str | None,
        client: Client,
        whole: bool,
    ):
        self._listener = service.listener()
        self._asked = (path, adapter, None, client)
        self._language, self._whole = language, whole
        self._limit, self.started = service.settings.max_seconds, time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._results: asyncio.Queue[Partial | BaseException] = asyncio.Queue()
        self._lock, self._closed = threading.Lock(), False
        self._request: Any = None
        service.pool.submit(self._work)

    async def partials(self) -> AsyncIterator[Partial]:
        """
        Yield the text so far whenever it has grown; the last one holds the transcript.

        Raises:
            ApiError: It takes longer than one request may.
            Exception: The error that the transcription failed with.
        """
        while True:
            try:
                async with asyncio.timeout(self.started + self._limit - time.monotonic()):
                    result = await self._results.get()
            except TimeoutError as error:
                raise ApiError(
                    503, f"This took longer than {self._limit:g} seconds.", "timeout", retry_after=RETRY_BUSY
                ) from error
            if isinstance(result, BaseException):
                raise result
            yield result
            if result.transcript is not None:
                return

    def close(self) -> None:
        """Stop the transcription, and give its place in the queue free."""
        with self._lock:
            self._closed = True
            if self._request is not None:
                self._request.fail(ClientLeft())

    def _work(self) -> None:
        try:
            with closing(self._stream()) as partials:
                for partial in partials:
                    if self._closed:
                        return
                    if not self._whole or partial.transcript is not None:
                        self._put(partial)
        except ClientLeft:
            return
        except BaseException as error:
            self._put(error)

    def _stream(self) -> "Generator[Partial, None, None]":
        if not isinstance(self._listener, Engine):
            if self._language is not None:
                raise EscoitaError("is not taken here", key="language", value=self._language, hint="leave it out")
            yield from self._listener.stream(*self._asked)
            return
        if self._closed:
            return
        with closing(self._listener.submit(*self._asked, self._language)) as request:
            with self._lock:
                self._request = request
                if self._closed:
                    return
            yield from request.partials()

    def _put(self, result: Partial | BaseException) -> None:
        with suppress(RuntimeError):  # the server was stopped
            self._loop.call_soon_threadsafe(self._results.put_nowait, result)


async def unless_client_leaves(request: "Request", work: Awaitable[Result]) -> Result:
    """
    Wait for work as long as a client does. The body of the request must have been read.

    Args:
        request (`Request`): The request.
        work (`Awaitable`): Cancelled if the client leaves.

    Raises:
        ClientLeft: The client closed its connection.
    """
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeft
    finally:
        for each in (task, left):
            each.cancel()
        await asyncio.gather(task, left, return_exceptions=True)


async def _left(request: "Request") -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
