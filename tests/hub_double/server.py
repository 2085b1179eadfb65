"""Serve the double on a free port of this machine, from a thread."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import LogEntry, create_app
from .faults import Fault
from .oidc import start_job
from .store import Commit, Store


HOST = "127.0.0.1"
_START_TIMEOUT_SECONDS = 10.0


@dataclass
class HubDouble:
    """
    Hold a running double.

    Args:
        url (`str`):
            Address, for `HfApi(endpoint=...)` or `HF_ENDPOINT`.
        store (`Store`):
            Repositories and their contents.
        log (`list[LogEntry]`):
            Requests so far: (method, path, status).
        faults (`list[Fault]`):
            Faults of later requests, of which the first matching one is applied.
    """

    url: str
    store: Store
    log: list[LogEntry] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def commit(
        self,
        repo: str,
        files: Mapping[str, bytes | None],
        title: str,
        repo_type: str = "model",
        *,
        revision: str = "main",
        author: str = "bea",
    ) -> Commit:
        """
        Commit like another user, directly into the store.

        Args:
            repo (`str`):
                Id of a repository that exists.
            files (`Mapping[str, bytes | None]`):
                Contents by path; None deletes a file.
            title (`str`):
                Title of the commit.
            repo_type (`str`, *optional*, defaults to `"model"`):
                `"model"`, `"dataset"` or `"space"`.
            revision (`str`, *optional*, defaults to `"main"`):
                A branch, or `refs/pr/N`.
            author (`str`, *optional*, defaults to `"bea"`):
                Author of the commit.
        """
        return self.store.commit(
            self.store.repos[repo_type, repo], files, title=title, author=author, revision=revision
        )

    def trust(self, resource: str, **claims: str) -> None:
        """Let CI jobs with these claims publish to a repository: `trust("acme/adapter", repository="acme/train")`."""
        self.store.publishers[resource] = claims

    def ci_job(self, **claims: str) -> dict[str, str]:
        """Return the environment of a job of GitHub Actions; `HF_ENDPOINT` and `HF_OIDC_RESOURCE` are not in it."""
        return start_job(self.store, self.url, claims)


class Connection(H11Protocol):
    """Extend uvicorn's connection: its transport is in the state of each request, so that faults can close it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


@contextlib.contextmanager
def serve(root: Path | str, *, port: int = 0, xet: bool = False) -> Iterator[HubDouble]:
    """
    Run a double in a `with` block.

    Args:
        root (`Path` or `str`):
            Folder for its blobs and, with `xet`, for the CAS.
        port (`int`, *optional*, defaults to 0):
            Port of 127.0.0.1; 0 for a free one.
        xet (`bool`, *optional*, defaults to `False`):
            Whether it offers Xet storage. Without it, clients need `HF_HUB_DISABLE_XET=1` to upload large files.
    """
    with socket.create_server((HOST, port)) as listener:
        hub = HubDouble(url=f"http://{HOST}:{listener.getsockname()[1]}", store=Store(Path(root), xet=xet))
        config = uvicorn.Config(
            create_app(hub.store, hub.log, hub.faults), http=Connection, log_level="warning", lifespan="off"
        )
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
