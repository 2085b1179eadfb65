"""Hold the models, limits and keys that the routes of the API use."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.audio.loading import check_header
from escoita.errors import BusyError, EscoitaError
from escoita.inference.fairness import Client
from escoita.inference.streaming import Listener
from escoita.recipe.schema import Space
from escoita.serve.auth import ApiKeys, require_local_request
from escoita.serve.errors import RETRY_LOADING, ApiError, invalid
from escoita.serve.metrics import Metrics


if TYPE_CHECKING:
    from starlette.requests import Request


MEGABYTE = 2**20
# The most requests that are transcribed at the same time, in addition to the waiting ones.
MAX_TRANSCRIBED = 32


@dataclass(frozen=True)
class Service:
    """
    Hold the models, limits and keys of a server.

    Args:
        base (`str`): The name of the base.
        adapters (`Mapping[str, str]`): The language of each adapter, by its name.
        settings ([`~escoita.recipe.schema.Space`]): The limits, which are those of the page.
        ready (`Callable`, *optional*): The function that returns the engine, or raises `EscoitaError` if it could not
            be loaded; [`~escoita.serve.server.serve`] sets it.
        loading (`Callable`, *optional*): The function that returns whether the engine is still being loaded.
        language (`str`, *optional*): The language of the base, if there are no adapters.
        client_of (`Callable`, *optional*): The function that returns the client of a request. The default is a client
            for each API key, or for each address without keys.
        keys ([`~escoita.serve.auth.ApiKeys`], *optional*): The accepted API keys. The default is access without a key.
        local (`bool`, *optional*, defaults to `False`): Whether to refuse requests of web pages of other sites.
        metrics ([`~escoita.serve.metrics.Metrics`], *optional*): The metrics. The default is not to count.
        folder (`Path`, *optional*): The folder for recordings. The default is the system's folder for temporary files.
        started (`int`, *optional*): The Unix time of the start. The default is now.
    """

    base: str
    adapters: Mapping[str, str]
    settings: Space
    ready: Callable[[], Any] = lambda: None
    loading: Callable[[], bool] = lambda: True
    language: str = ""
    client_of: "Callable[[Request], Client] | None" = None
    keys: ApiKeys | None = None
    local: bool = False
    metrics: Metrics | None = None
    folder: Path | None = None
    started: int = field(default_factory=lambda: int(time.time()))

    @property
    def models(self) -> list[str]:
        """Return the names of all models, adapters first."""
        return [*self.adapters, *([self.base] if self.base not in self.adapters else [])]

    @property
    def max_bytes(self) -> int:
        """Return the maximum size of a recording, in bytes."""
        return int(self.settings.max_megabytes * MEGABYTE)

    @property
    def max_requests(self) -> int:
        """Return the most concurrent transcription requests."""
        return self.settings.max_queue + MAX_TRANSCRIBED

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        """Return the threads, one for each concurrent request."""
        return ThreadPoolExecutor(self.max_requests, "escoita-request")

    @cached_property
    def _slots(self) -> threading.Semaphore:
        return threading.Semaphore(self.max_requests)

    def language_of(self, model: str) -> str:
        """Return the language of a model; empty if it is unknown."""
        return self.adapters.get(model) or self.language or next(iter(self.adapters.values()), "")

    def client(self, request: "Request") -> Client:
        """
        Return the client that sent a request, to which the limits of the queue apply.

        Args:
            request (`Request`): The request.

        Raises:
            ApiError: The request has no accepted API key, or may come from a web page of another site.
        """
        if self.local:
            require_local_request(request.headers.get("host", ""), request.headers.get("origin"))
        owner = None
        if self.keys is not None:
            owner = self.keys.owner(request.headers.get("authorization", ""))
            if owner is None:
                raise ApiError(401, "Send an API key of this server: Authorization: Bearer KEY.", "invalid_api_key")
        if self.client_of is not None:
            return self.client_of(request)
        address = f"key {owner}" if owner is not None else request.client.host if request.client else ""
        # The requests of an address, or of a key, share its part of the queue; each is a client of its own.
        return Client(address, object())

    def listener(self) -> Listener:
        """
        Return the engine.

        Raises:
            ApiError: The model is not loaded yet, or could not be loaded.
        """
        if self.loading():
            raise ApiError(503, "The model is being loaded.", "model_loading", retry_after=RETRY_LOADING)
        try:
            listener: Listener = self.ready()
        except EscoitaError as error:
            raise ApiError(503, "The model could not be loaded.", "model_not_loaded") from error
        return listener

    def check_file(self, path: Path, size: int) -> None:
        """
        Check a recording before it is decoded, because a small file can contain hours of audio.

        Args:
            path (`Path`): The recording.
            size (`int`): Its size, in bytes.

        Raises:
            ApiError: The file is empty.
            AudioLimitError: The header declares that the recording is too long.
        """
        if not size:
            raise invalid("The file is empty.", "file", "invalid_audio")
        check_header(path, self.settings.max_minutes * 60)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """
        Count a request as in progress while the context is open; the body of the request is read only then.

        Raises:
            BusyError: Too many requests are in progress.
        """
        if not self._slots.acquire(blocking=False):
            problem = f"{self.max_requests} requests are already in progress"
            raise BusyError(problem, hint="try again in a minute", waiting=self.max_requests)
        if self.metrics:
            self.metrics.in_progress.inc()
        try:
            yield
        finally:
            self._slots.release()
            if self.metrics:
                self.metrics.in_progress.dec()
