"""Hold what the routes of the interface need: models, limits and keys."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from escoita.audio.loading import check_header
from escoita.errors import BusyError, EscoitaError
from escoita.inference.fairness import Client
from escoita.recipe.schema import Space
from escoita.serve.auth import ApiKeys, require_local_request
from escoita.serve.errors import RETRY_LOADING, ApiError, invalid
from escoita.serve.metrics import Metrics


if TYPE_CHECKING:
    from starlette.requests import Request

    from escoita.inference.streaming import Partial


MEGABYTE = 2**20
# Requests that are transcribed at once, beside those that wait.
TRANSCRIBED = 32


class Listener(Protocol):
    """Transcribe recordings, as [`~escoita.inference.serving.Engine`] does."""

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        beside: str | None = None,
        client: Client | None = None,
    ) -> "Iterator[Partial]":
        """See [`~escoita.inference.serving.Engine.stream`]."""


@dataclass(frozen=True)
class Service:
    """
    Hold what the routes need.

    Args:
        base (`str`): The name of the base.
        adapters (`Mapping[str, str]`): The language of each adapter, by its name.
        settings ([`~escoita.recipe.schema.Space`]): The limits, those of the page.
        ready (`Callable`): Returns what transcribes; raises `EscoitaError` if it could not be loaded (default: as yet
            unknown; [`~escoita.serve.server.serve`] sets it).
        loading (`Callable`): Returns whether it is still being loaded.
        language (`str`, *optional*): The language of the base, if there are no adapters.
        client_of (`Callable`, *optional*): Returns who sent a request (default: the owner of its API key, else the
            address that it came from).
        keys ([`~escoita.serve.auth.ApiKeys`], *optional*): The accepted API keys; everyone is let in without them.
        local (`bool`, *optional*, defaults to `False`): Refuse requests of other sites' pages in a browser here.
        metrics ([`~escoita.serve.metrics.Metrics`], *optional*): Counts what happens.
        folder (`Path`, *optional*): The folder for recordings (default: that of the system).
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
    _places: "Places" = field(default_factory=lambda: Places())

    @property
    def models(self) -> list[str]:
        """The names of all models, the adapters first."""
        return [*self.adapters, *([self.base] if self.base not in self.adapters else [])]

    @property
    def max_bytes(self) -> int:
        """The largest recording."""
        return int(self.settings.max_megabytes * MEGABYTE)

    @property
    def places(self) -> int:
        """The requests that are accepted at once."""
        return self.settings.max_queue + TRANSCRIBED

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        """One thread for each request."""
        return ThreadPoolExecutor(self.places, "escoita-request")

    def language_of(self, model: str) -> str:
        """Return the language of a model; empty if it is not known."""
        return self.adapters.get(model) or self.language or next(iter(self.adapters.values()), "")

    def client(self, request: "Request") -> Client:
        """
        Return who sent a request, whose fair share of the queue then holds.

        Raises:
            ApiError: The request has no accepted API key, or may come from a page of another site.
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
        # All requests of one address, or one key, share its part of the queue; none of them is one session's.
        return Client(address, object())

    def listener(self) -> Listener:
        """
        Return what transcribes.

        Raises:
            ApiError: It is not loaded yet, or could not be loaded.
        """
        if self.loading():
            raise ApiError(503, "The model is loading.", "model_loading", retry_after=RETRY_LOADING)
        try:
            listener: Listener = self.ready()
        except EscoitaError as error:
            raise ApiError(503, "The model could not be loaded.", "model_not_loaded") from error
        return listener

    def check_file(self, path: Path, size: int) -> None:
        """
        Refuse a recording before it is decoded, as a small file can hold hours.

        Raises:
            ApiError: It is empty.
            AudioLimitError: Its header declares that it is too long.
        """
        if not size:
            raise invalid("The file is empty.", "file", "invalid_audio")
        check_header(path, self.settings.max_minutes * 60)

    @contextmanager
    def place(self) -> Iterator[None]:
        """
        Hold one of the places for requests, before anything of a request is read.

        Raises:
            BusyError: All are taken.
        """
        with self._places.lock:
            if self._places.taken >= self.places:
                raise BusyError(f"{self._places.taken} requests are in progress already; try again in a minute")
            self._places.taken += 1
        if self.metrics:
            self.metrics.in_progress.inc()
        try:
            yield
        finally:
            with self._places.lock:
                self._places.taken -= 1
            if self.metrics:
                self.metrics.in_progress.dec()


@dataclass
class Places:
    """
    Count the requests in progress.

    Args:
        taken (`int`): Their number.
    """

    taken: int = 0
    lock: Any = field(default_factory=threading.Lock)
