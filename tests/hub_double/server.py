"""Serve the double on a free port of this machine, from a thread."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from .app import LogEntry, create_app
from .store import Store


HOST = "127.0.0.1"
_START_TIMEOUT_SECONDS = 10.0


@dataclass
class HubDouble:
    """
    A running double.

    Args:
        url (`str`):
            Its address, for `HfApi(endpoint=...)` or `HF_ENDPOINT`.
        store (`Store`):
            What it holds.
        log (`list[LogEntry]`):
            The requests it answered so far: (method, path, status).
    """

    url: str
    store: Store
    log: list[LogEntry] = field(default_factory=list)


@contextlib.contextmanager
def serve(root: Path | str, *, port: int = 0, xet: bool = False) -> Iterator[HubDouble]:
    """
    Run a double for the length of a `with` block.

    Args:
        root (`Path` or `str`):
            Folder for its blobs and, with `xet`, for the CAS.
        port (`int`, *optional*, defaults to 0):
            Port of 127.0.0.1; 0 takes a free one.
        xet (`bool`, *optional*, defaults to `False`):
            Whether it offers Xet storage. Without it, clients need `HF_HUB_DISABLE_XET=1` to upload large files.
    """
    with socket.create_server((HOST, port)) as listener:
        hub = HubDouble(url=f"http://{HOST}:{listener.getsockname()[1]}", store=Store(Path(root), xet=xet))
        config = uvicorn.Config(create_app(hub.store, hub.log), log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield hub
        finally:
            server.should_exit = True
            thread.join(timeout=5)


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("The Hub double did not start")
        time.sleep(0.01)
