"""ZeroGPU, where each call runs elsewhere: with a stand-in of its package that runs it in another process."""

import multiprocessing
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from escoita.errors import EscoitaError
from escoita.inference.fairness import Client
from escoita.inference.serving import Engine
from escoita.inference.streaming import Partial
from escoita.space import app
from escoita.space.demo import Alone, alone, on_zero_gpu
from escoita.space.handlers import listen
from tests.space.stub import CLIP, Stub
from tests.space.pages import about_what


class Elsewhere(Stub):
    """An engine that says in which process it hears."""

    def __init__(self) -> None:
        super().__init__("salom dunyo")
        self.prepared: list[str] = []
        self.adapters = types.SimpleNamespace(sources={"uzbek": "acme/uzbek", "second": "acme/second"})

    def prepare(self, adapter: str) -> None:
        self.prepared.append(adapter)

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        beside: str | None = None,
        client: Client | None = None,
    ) -> Iterator[Partial]:
        pytest.fail("asked together with others, whose process does not know them")

    def stream_alone(
        self, source: str | Path, adapter: str | None = None, beside: str | None = None
    ) -> Iterator[Partial]:
        if adapter == "broken":
            raise EscoitaError("nothing doing")
        self.text = f"{os.getpid()} {adapter} {beside}"
        yield from super().stream(source, adapter, beside)


def run(function: Callable[..., Iterator[Any]], arguments: tuple[Any, ...], pipe: Any) -> None:
    try:
        for value in function(*arguments):
            pipe.send((value, None))
        pipe.send((None, StopIteration()))
    except EscoitaError as error:
        pipe.send((None, error))


@pytest.fixture
def durations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seconds that were asked for, each by a decorator; what it decorates runs in a process of its own."""
    asked: list[int] = []

    def gpu(duration: int) -> Callable[..., Any]:
        asked.append(duration)

        def decorate(function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
            def called(*arguments: Any) -> Iterator[Any]:
                fork = multiprocessing.get_context("fork")
                here, there = fork.Pipe(duplex=False)
                process = fork.Process(target=run, args=(function, arguments, there))
                process.start()
                while True:
                    value, error = here.recv()
                    if error is not None:
                        process.join()
                        if isinstance(error, StopIteration):
                            return
                        raise error
                    yield value

            return called

        return decorate

    stand_in = types.ModuleType("spaces")
    stand_in.__spec__ = types.SimpleNamespace(name="spaces")  # type: ignore[assignment]
    stand_in.GPU = gpu  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spaces", stand_in)
    return asked


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("true", True), ("T", True), ("0", False), ("", False), ("no", False)]
)
def test_zero_gpu_is_known_by_its_variable(
    durations: list[int], monkeypatch: pytest.MonkeyPatch, value: str, expected: bool
) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", value)
    assert on_zero_gpu() is expected


def test_without_its_package_it_is_not_zero_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not on_zero_gpu()


def test_each_call_is_heard_in_a_process_of_its_own(durations: list[int]) -> None:
    engine: Any = Elsewhere()
    listener = alone(lambda: engine, 119.6)
    assert engine.prepared == ["uzbek", "second"], "what a call loads goes with its process"
    assert durations == [120]
    *_, last = listen(about_what(ready=lambda: listener), str(CLIP), None, "uzbek")
    process, adapter, beside = last.text.split()
    assert (adapter, beside) == ("None", "uzbek") and int(process) != os.getpid()


def test_a_refusal_comes_back_from_there(durations: list[int]) -> None:
    engine: Any = Elsewhere()
    listener = alone(lambda: engine, 0.2)
    assert durations == [1]
    with pytest.raises(EscoitaError, match="^nothing doing$"):
        list(listener.stream(CLIP, "broken"))


def test_the_model_is_whole_before_the_page_opens(
    durations: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    engine: Any = Elsewhere()
    monkeypatch.setattr(Engine, "load", lambda *arguments, **settings: engine)
    loading = app._loading(about_what(adapters={}))
    assert not loading.loading() and isinstance(loading.ready(), Alone)


def test_a_model_that_cannot_be_had_opens_no_page(durations: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: object, **settings: object) -> Engine:
        raise EscoitaError("acme/base: no such base")

    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    monkeypatch.setattr(Engine, "load", load)
    with pytest.raises(EscoitaError, match="^acme/base: no such base$"):
        app._loading(about_what(adapters={}))
