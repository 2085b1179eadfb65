"""Test ZeroGPU, with a stand-in of its package that runs each call in another process."""

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
from escoita.space.demo import ZeroGpuListener, load_for_zero_gpu, on_zero_gpu
from escoita.space.handlers import transcribe_recording
from tests.space.pages import demo_of
from tests.space.stub import CLIP, Stub


class ProcessEngine(Stub):
    """Return the number of the process as the text."""

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
        prompt_adapter: str | None = None,
        client: Client | None = None,
    ) -> Iterator[Partial]:
        pytest.fail("requests of several processes cannot be batched")

    def stream_alone(
        self, source: str | Path, adapter: str | None = None, prompt_adapter: str | None = None
    ) -> Iterator[Partial]:
        if adapter == "broken":
            raise EscoitaError("broken", path="acme/broken")
        self.text = f"{os.getpid()} {adapter} {prompt_adapter}"
        yield from super().stream(source, adapter, prompt_adapter)


def run(function: Callable[..., Iterator[Any]], arguments: tuple[Any, ...], pipe: Any) -> None:
    try:
        for value in function(*arguments):
            pipe.send((value, None))
        pipe.send((None, StopIteration()))
    except EscoitaError as error:
        pipe.send((None, error))


@pytest.fixture
def durations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the durations that decorators requested; the decorated function runs in another process."""
    requested: list[int] = []

    def gpu(duration: int) -> Callable[..., Any]:
        requested.append(duration)

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
    return requested


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("true", True), ("T", True), ("0", False), ("", False), ("no", False)]
)
def test_on_zero_gpu_reads_the_variable(
    durations: list[int], monkeypatch: pytest.MonkeyPatch, value: str, expected: bool
) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", value)
    assert on_zero_gpu() is expected


def test_on_zero_gpu_needs_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not on_zero_gpu()


def test_each_request_runs_in_its_own_process(durations: list[int]) -> None:
    engine: Any = ProcessEngine()
    listener = load_for_zero_gpu(lambda: engine, 119.6)
    assert engine.prepared == ["uzbek", "second"], "an adapter that a call loads is lost with its process"
    assert durations == [120]
    *_, last = transcribe_recording(demo_of(ready=lambda: listener), str(CLIP), None, "uzbek")
    process, adapter, prompt_adapter = last.text.split()
    assert (adapter, prompt_adapter) == ("None", "uzbek") and int(process) != os.getpid()


def test_an_error_is_returned_from_the_process(durations: list[int]) -> None:
    engine: Any = ProcessEngine()
    listener = load_for_zero_gpu(lambda: engine, 0.2)
    assert durations == [1]
    with pytest.raises(EscoitaError) as caught:
        list(listener.stream(CLIP, "broken"))
    assert caught.value.path == "acme/broken"


def test_the_model_is_loaded_before_the_page_opens(
    durations: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    engine: Any = ProcessEngine()
    monkeypatch.setattr(Engine, "load", lambda *arguments, **settings: engine)
    loading = app._loading(demo_of(adapters={}))
    assert not loading.loading() and isinstance(loading.ready(), ZeroGpuListener)


def test_a_model_that_cannot_be_loaded_is_an_error(durations: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: object, **settings: object) -> Engine:
        raise EscoitaError("not found", path="acme/base")

    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    monkeypatch.setattr(Engine, "load", load)
    with pytest.raises(EscoitaError) as caught:
        app._loading(demo_of(adapters={}))
    assert caught.value.path == "acme/base"
