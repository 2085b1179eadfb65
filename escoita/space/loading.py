"""The model, loaded in the background while the page answers already; on ZeroGPU, before it is opened."""

import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from escoita.errors import EscoitaError
from escoita.inference.fairness import Places, anyone
from escoita.space.texts import say


if TYPE_CHECKING:
    from escoita.inference.serving import Engine
    from escoita.inference.fairness import Client
    from escoita.inference.streaming import Partial
    from escoita.space.demo import Listener


def on_zero_gpu() -> bool:
    """Whether this is a Space that gets a GPU for each call."""
    # As the package `spaces` itself reads it.
    asked = os.environ.get("SPACES_ZERO_GPU", "").lower()
    return asked in ("1", "t", "true") and importlib.util.find_spec("spaces") is not None


def alone(load: Callable[[], "Engine"], seconds: float, max_waiting: int = 80) -> "Alone":
    """
    Loads a model for ZeroGPU, where it must be whole before the page is opened, all adapters with it.

    Args:
        load (`Callable`): Loads the engine.
        seconds (`float`): What one request may take.
        max_waiting (`int`, *optional*, defaults to 80): Requests at once.

    Raises:
        EscoitaError: It cannot be had.
    """
    import spaces  # before torch, of which it replaces parts

    engine = load()
    for name in engine.adapters.sources:
        engine.prepare(name)

    # What it is given goes to another process: names and a path, never the model.
    @spaces.GPU(duration=max(1, round(seconds)))
    def heard(source: str | Path, adapter: str | None, beside: str | None) -> "Iterator[Partial]":
        yield from engine.stream_alone(source, adapter, beside)

    return Alone(heard, max_waiting)


@dataclass(frozen=True)
class Alone:
    """
    Hears each recording by a call of its own.

    Args:
        heard (`Callable`): Takes a recording, the name of an adapter, and that of the adapter beside it.
        max_waiting (`int`): Requests at once; of one client as many as may wait elsewhere.
    """

    heard: Callable[[str | Path, str | None, str | None], "Iterator[Partial]"]
    max_waiting: int
    _places: Places = field(default_factory=Places)

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        beside: str | None = None,
        client: "Client | None" = None,
    ) -> "Iterator[Partial]":
        """As [`~escoita.inference.serving.Engine.stream`]."""
        with self._places.take(client or anyone(), self.max_waiting):
            yield from self.heard(source, adapter, beside)


class Loading:
    """
    A model on its way.

    Args:
        load (`Callable`): Loads it.
    """

    def __init__(self, load: Callable[[], "Listener"]):
        self.done: Future[Listener] = Future()
        self._load = load

    def start(self) -> None:
        """Loads in a thread, which nobody waits for when the program ends."""
        threading.Thread(target=self.run, name="escoita-loading", daemon=True).start()

    def run(self) -> None:
        """Loads now; what goes wrong is kept for who asks."""
        try:
            self.done.set_result(self._load())
        except BaseException as error:
            self.done.set_exception(error)

    def failed(self, tell: Callable[[], None]) -> None:
        """Calls `tell` as soon as the model could not be loaded."""
        self.done.add_done_callback(partial(_if_failed, tell))

    def loading(self) -> bool:
        """Whether it is not loaded yet."""
        return not self.done.done()

    def ready(self) -> "Listener":
        """
        Waits for it.

        Raises:
            EscoitaError: It could not be loaded; why is nothing for visitors.
        """
        try:
            return self.done.result()
        except BaseException as error:
            raise EscoitaError(say("refusal.not_loaded")) from error


def _if_failed(tell: Callable[[], None], done: "Future[Listener]") -> None:
    if done.exception() is not None:
        tell()
