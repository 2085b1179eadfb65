"""Run a server until it is stopped, and load its model meanwhile."""

import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.errors import EscoitaError
from escoita.serve.app import application
from escoita.serve.metrics import Metrics
from escoita.utils.processes import say


if TYPE_CHECKING:
    from uvicorn import Server

    from escoita.serve.service import Service

# The seconds that requests may take to finish after the server is stopped.
GRACE = 10
# The most seconds for the headers of a request.
HEADER_SECONDS = 20.0


def timed_protocol(seconds: float) -> type:
    """
    Return uvicorn's protocol with a time limit for the headers of a request, which uvicorn does not have.

    Without it, a client could hold all connections by sending nothing.

    Args:
        seconds (`float`): The seconds from the start of a connection, or from the first byte of a further request.
    """
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    protocol: Any = AutoHTTPProtocol

    class TimedProtocol(protocol):
        timer: Any = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.timer = self.loop.call_later(seconds, transport.close)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            waiting = self.cycle is None or self.cycle.response_complete
            if waiting and self.timer is None:
                self.timer = self.loop.call_later(seconds, self.transport.close)
            elif not waiting:
                self._stop_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def _stop_timer(self) -> None:
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

    return TimedProtocol


def serve(service: "Service", load: Callable[[], Any], host: str, port: int) -> None:
    """
    Serve the API until SIGINT or SIGTERM.

    Args:
        service ([`~escoita.serve.service.Service`]): The models, limits and keys; `ready` and `loading` are
            set here.
        load (`Callable`): The function that loads and returns the engine, which is closed at the end.
        host (`str`): The address to listen on.
        port (`int`): The port; 0 chooses a free one.

    Raises:
        EscoitaError: The port is in use, or the model cannot be loaded.
    """
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        with listening(host, port) as listener, running(service, load) as (server, loaded):
            shown = f"[{host}]" if ":" in host else host
            address = f"http://{shown}:{listener.getsockname()[1]}/v1"
            say(f"Listening on {address} (Ctrl-C to stop); the model is being loaded")
            server.run(sockets=[listener])
            if loaded.done() and (error := loaded.exception()):
                raise error
    except KeyboardInterrupt:
        return


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """
    Open a listening socket.

    Args:
        host (`str`): The address to listen on.
        port (`int`): The port; 0 chooses a free one.

    Returns:
        `Iterator[socket]`: The socket.

    Raises:
        EscoitaError: The port is in use, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EscoitaError(
            f"cannot listen on {host} ({reason})", key="--port", value=port, hint="choose another port"
        ) from error
    with listener:
        yield listener


@contextmanager
def running(service: "Service", load: Callable[[], Any]) -> "Iterator[tuple[Server, Future[Any]]]":
    """
    Prepare a server whose model is loaded on a thread; close the model at the end.

    Args:
        service ([`~escoita.serve.service.Service`]): The models, limits and keys; see [`serve`].
        load (`Callable`): The function that loads and returns the engine.

    Returns:
        `Iterator[tuple[Server, Future]]`: The server of uvicorn, which is not running yet and stops if the model
        cannot be loaded; and the engine.
    """
    import uvicorn

    loaded: Future[Any] = Future()
    with tempfile.TemporaryDirectory(prefix="escoita-serve-", ignore_cleanup_errors=True) as folder:
        service = replace(
            service,
            ready=lambda: loaded.result(),
            loading=lambda: not loaded.done(),
            metrics=Metrics(),
            folder=Path(folder),
        )
        config = uvicorn.Config(
            application(service),
            http=timed_protocol(HEADER_SECONDS),
            log_level="warning",
            access_log=False,
            lifespan="off",
            # The address of a client is that of its connection, because any client can send X-Forwarded-For.
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
            # More than the transcription requests, for those of models, health and metrics.
            limit_concurrency=2 * service.max_requests + 100,
        )
        server = uvicorn.Server(config)

        def run() -> None:
            try:
                loaded.set_result(load())
            except BaseException as error:
                loaded.set_exception(error)
                server.should_exit = True

        threading.Thread(target=run, name="escoita-loading", daemon=True).start()
        try:
            yield server, loaded
        finally:
            _close(loaded)
            service.pool.shutdown(wait=False, cancel_futures=True)


def _close(loaded: "Future[Any]") -> None:
    """Close the engine, which stops its requests."""
    if loaded.done() and not loaded.exception() and (close := getattr(loaded.result(), "close", None)):
        close()
