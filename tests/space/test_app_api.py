"""Test the API: the examples of README and docs, the names of its parameters, and interrupted requests."""

import re
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO

import httpx
import pytest
from gradio_client import Client, handle_file

from escoita.space import app
from tests.space.pages import FakeEngine, demo_of
from tests.space.stub import CLIP, ROOT


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine({None: "salem dunya", "uzbek": "salom dunyo bir ikki"})


@pytest.fixture(scope="module")
def address(engine: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        demo = demo_of(ready=lambda: engine)
        page = app.build(demo)
        yield app.start(page, demo)
        page.close(verbose=False)


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    client = Client(address, verbose=False)
    yield client
    client.close()


def example(page: str) -> str:
    """Return the Python code block of a page that uses the client of Gradio."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if "gradio_client" in block)
    return str(block)


@pytest.mark.parametrize("page", ["README.md", "docs/space.md"])
def test_the_documented_example_prints_the_transcript(address: str, page: str) -> None:
    code = re.sub(r'Client\("[^"]+"\)', f'Client("{address}", verbose=False)', example(page))
    code = code.replace('"clip.wav"', repr(str(CLIP)))
    with redirect_stdout(StringIO()) as output:
        exec(compile(code, page, "exec"), {})  # noqa: S102
    assert "salom dunyo bir ikki" in output.getvalue()


def test_the_first_adapter_is_the_default(client: Client) -> None:
    assert client.predict(handle_file(CLIP), api_name="/transcribe") == "salom dunyo bir ikki"
    assert client.predict(handle_file(CLIP), "uzbek", api_name="/transcribe") == "salom dunyo bir ikki"
    assert client.predict(handle_file(CLIP), adapter="uzbek", api_name="/transcribe") == "salom dunyo bir ikki"


def test_compare_returns_rates_with_a_reference(client: Client) -> None:
    without = client.predict(handle_file(CLIP), api_name="/compare")
    assert without["done"] and without["models"] == [
        {"name": "base", "text": "salem dunya"},
        {"name": "uzbek", "text": "salom dunyo bir ikki"},
    ]
    with_reference = client.predict(handle_file(CLIP), reference="salom dunyo bir ikki", api_name="/compare")
    assert [model["wer"] for model in with_reference["models"]] == [1.0, 0.0]


def test_names_of_endpoints_and_parameters(client: Client) -> None:
    endpoints = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    parameters = {
        name: [each["parameter_name"] for each in endpoint["parameters"]] for name, endpoint in endpoints.items()
    }
    assert parameters == {
        "/transcribe": ["audio", "adapter"],
        "/compare": ["recording", "first", "second", "reference"],
    }


def test_an_interrupted_request_releases_its_place(address: str, client: Client, engine: FakeEngine) -> None:
    url = f"{address}gradio_api/"
    path = httpx.post(url + "upload", files={"files": ("a.ogg", CLIP.read_bytes())}, timeout=60).json()[0]
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "uzbek"]
    event = httpx.post(url + "call/transcribe", json={"data": data}, timeout=60).json()["event_id"]
    with httpx.stream("GET", f"{url}call/transcribe/{event}", timeout=60) as answer:
        assert next(answer.iter_lines()).startswith("event:")
    assert client.predict(handle_file(CLIP), api_name="/transcribe") == "salom dunyo bir ikki"
    deadline = time.monotonic() + 20
    while engine.closed < len(engine.requests) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert engine.closed == len(engine.requests)
