"""Measure `escoita serve` over HTTP: concurrent clients compared with sequential requests."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.clock import timed
from bench.measurement import Measurement
from bench.quickstart import load_clips
from escoita.serve.models import find_models, load_engine
from escoita.serve.server import listening, running
from escoita.serve.service import Service
from escoita.utils.processes import say


if TYPE_CHECKING:
    import httpx


CLIENTS = 50
ROUNDS = 5
MODEL = "adapter"


def measure_server(run: Path, clients: int = CLIENTS, rounds: int = ROUNDS) -> list[Measurement]:
    """
    Measure the time in which many clients get their transcripts, concurrently and one after another.

    Args:
        run (`Path`): The directory of a trained run of the quick start.
        clients (`int`, *optional*, defaults to 50): The number of clients, each with its own clip.
        rounds (`int`, *optional*, defaults to 5): The number of measurements of each.

    Returns:
        `list[Measurement]`: The speedup, and the number of texts that differ.

    Raises:
        EscoitaError: The run has no adapter.
    """
    import httpx

    files = load_clips("uz")[:clients].column("audio")
    sequential: list[float] = []
    concurrent: list[float] = []
    say(f"Server: {clients} clients")
    with address_of(run) as address, httpx.Client(base_url=address, timeout=300, limits=httpx.Limits()) as http:
        transcribed(http, files, 1)
        for _ in range(rounds):
            one, spent = timed(partial(transcribed, http, files, 1))
            sequential.append(spent.wall)
            many, spent = timed(partial(transcribed, http, files, clients))
            concurrent.append(spent.wall)
    different = sum(text != other for text, other in zip(one, many, strict=True))
    return [
        Measurement(
            f"Server, {clients} clients at once",
            median(first / second for first, second in zip(sequential, concurrent, strict=True)),
            "times as fast",
            f"one after another: {median(sequential):.3g} s",
            at_least=2,
        ),
        Measurement("Server, texts that differ", different, f"of {len(files)}", "one after another", at_most=0),
    ]


def transcribed(http: "httpx.Client", files: Sequence[str], clients: int) -> list[str]:
    """Return the transcript of each recording, requested by several clients concurrently."""
    with ThreadPoolExecutor(clients) as threads:
        return list(threads.map(partial(_text, http), files))


def _text(http: "httpx.Client", file: str) -> str:
    response = http.post(
        "/v1/audio/transcriptions", files={"file": (Path(file).name, Path(file).read_bytes())}, data={"model": MODEL}
    )
    return str(response.raise_for_status().json()["text"])


@contextmanager
def address_of(run: Path) -> Iterator[str]:
    """Serve the adapter of a run on a free port, and yield its address when the model is loaded."""
    models = find_models([f"{MODEL}={run}"])
    service = Service(models.base_name, models.languages(), models.settings)
    load = partial(load_engine, models)
    with listening("127.0.0.1", 0) as listener, running(service, load) as (server, loaded):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        loaded.result()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
