"""Provide servers with models whose transcript is the number of samples of a clip."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from escoita.inference.serving import Engine
from escoita.recipe.schema import Space
from escoita.serve.server import listening, running
from escoita.serve.service import Service
from tests.length_model import Gate, LengthModel, length_transcriber


MODEL = "talker"
Open = Callable[..., str]


@contextmanager
def served(service: Service, load: Callable[[], Any]) -> Iterator[str]:
    """Serve on a free port of this machine, from a thread, and yield the address once the model is loaded."""
    with listening("127.0.0.1", 0) as listener, running(service, load) as (server, _):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            deadline = time.monotonic() + 60
            while not server.started or httpx.get(f"{address}/health").status_code != 200:
                assert thread.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield address
        finally:
            server.should_exit = True
            thread.join(timeout=20)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.release()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Serve a talker with such settings, and return the address."""
    with ExitStack() as servers:

        def open_server(model: LengthModel | None = None, limits: dict[str, Any] | None = None, **options: Any) -> str:
            settings = Space(**(limits or {}))
            engine = Engine(length_transcriber(model), {}, {}, settings.max_queue, settings.max_minutes * 60)
            service = Service(MODEL, {}, settings, language="gl", **options)
            return servers.enter_context(served(service, lambda: engine))

        yield open_server
