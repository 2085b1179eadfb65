"""A model on its way, for who waits and for who looks."""

import threading

import pytest

from escoita.errors import EscoitaError
from escoita.space.demo import Loading
from tests.space.stub import Stub


def test_who_asks_waits_until_it_is_there() -> None:
    go, stub = threading.Event(), Stub()

    def load() -> Stub:
        assert go.wait(60)
        return stub

    loading = Loading(load)
    assert loading.loading()
    loading.start()
    assert loading.loading()
    go.set()
    assert loading.ready() is stub
    assert not loading.loading()


@pytest.mark.parametrize("error", [EscoitaError("/srv/base: no such base"), RuntimeError("a defect"), SystemExit(3)])
def test_why_it_failed_is_kept_for_us_and_not_told_to_visitors(error: BaseException) -> None:
    def load() -> Stub:
        raise error

    loading, told = Loading(load), threading.Event()
    loading.failed(told.set)
    assert not told.is_set()
    loading.run()
    assert told.is_set() and not loading.loading()
    with pytest.raises(EscoitaError, match=r"^The model could not be loaded; come back later\.$"):
        loading.ready()
    with pytest.raises(type(error)) as caught:
        loading.done.result()
    assert caught.value is error


def test_who_asks_after_it_failed_is_told_at_once() -> None:
    def load() -> Stub:
        raise EscoitaError("acme/base: no such base")

    loading, told = Loading(load), threading.Event()
    loading.run()
    loading.failed(told.set)
    assert told.is_set()


def test_nobody_is_told_of_a_failure_where_there_is_none() -> None:
    loading, told = Loading(Stub), threading.Event()
    loading.failed(told.set)
    loading.run()
    assert not told.is_set()
