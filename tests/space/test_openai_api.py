"""Test OpenAI's API of the page, which is switched on by a setting and has the limits of the page."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from escoita.inference.serving import Engine
from escoita.recipe.schema import Space
from escoita.serve.auth import KEYS_VARIABLE
from escoita.space import app
from escoita.space.client_limits import MAX_UPLOADS, Clients
from tests.length_model import SETTINGS, length_transcriber
from tests.serve.test_app import ask, wav
from tests.space.pages import demo_of


Open = Callable[..., str]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    SETTINGS.write(tmp_path / "escoita.json")
    pages: list[Any] = []

    def make(**settings: Any) -> str:
        space = Space(**settings)
        engine = Engine(length_transcriber(), {}, {}, space.max_queue, space.max_minutes * 60)
        demo = demo_of(
            adapters={"adapter": str(tmp_path)},
            ready=lambda: engine,
            loading=lambda: False,
            settings=space,
            clients=Clients(),
        )
        page = app.build(demo)
        pages.append((page, engine))
        return app.start(page, demo).rstrip("/")

    yield make
    for page, engine in pages:
        page.close(verbose=False)
        engine.close()


def test_it_is_off_unless_it_is_switched_on(opened: Open) -> None:
    assert ask(opened()).status_code in (404, 405)


def test_programs_and_visitors_use_one_page(opened: Open) -> None:
    address = opened(api=True)
    adapter, model = (each["id"] for each in httpx.get(f"{address}/v1/models").json()["data"])
    assert adapter == "adapter"
    assert ask(address, model=model).json()["text"] == "12000"
    events = ask(address, model=model, stream="true").text
    assert "transcript.text.done" in events
    assert httpx.get(address).status_code == 200
    answer = ask(address, model="other")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_the_limits_of_the_page_hold(opened: Open) -> None:
    address = opened(api=True, max_megabytes=0.1)
    answer = ask(address, wav(60_000))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")
    answers = [ask(address, model="other") for _ in range(MAX_UPLOADS + 1)]
    assert answers[-1].status_code == 429
    assert answers[-1].json()["error"]["code"] == "rate_limit_exceeded"
    assert int(answers[-1].headers["retry-after"]) > 0


def test_a_page_may_ask_for_keys(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "0123456789abcdef"
    monkeypatch.setenv(KEYS_VARIABLE, key)
    address = opened(api=True)
    assert ask(address).status_code == 401
    assert httpx.get(f"{address}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert httpx.get(address).status_code == 200
