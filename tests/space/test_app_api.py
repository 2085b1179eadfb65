"""The examples for programs, as README and docs have them, and what else a program may do."""

import re
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO

import httpx
import pytest
from gradio_client import Client, handle_file

from escoita.space import app
from tests.space.stub import CLIP, ROOT
from tests.space.pages import ValidationSet, about_what


@pytest.fixture(scope="module")
def listening() -> ValidationSet:
    return ValidationSet({None: "salem dunya", "uzbek": "salom dunyo bir ikki"})


@pytest.fixture(scope="module")
def address(listening: ValidationSet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        demo = about_what(ready=lambda: listening)
        page = app.build(demo)
        yield app.start(page, demo)
        page.close(verbose=False)


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    client = Client(address, verbose=False)
    yield client
    client.close()


def example(page: str) -> str:
    """The block of Python in which a program asks the page."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if "gradio_client" in block)
    return str(block)


@pytest.mark.parametrize("page", ["README.md", "docs/space.md"])
def test_the_documented_example_prints_what_was_heard(address: str, page: str) -> None:
    code = re.sub(r'Client\("[^"]+"\)', f'Client("{address}", verbose=False)', example(page))
    code = code.replace('"clip.wav"', repr(str(CLIP)))
    with redirect_stdout(StringIO()) as said:
        exec(compile(code, page, "exec"), {})  # noqa: S102
    assert "salom dunyo bir ikki" in said.getvalue()


def test_the_adapter_is_the_first_unless_named(client: Client) -> None:
    assert client.predict(handle_file(CLIP), api_name="/transcribe") == "salom dunyo bir ikki"
    assert client.predict(handle_file(CLIP), "uzbek", api_name="/transcribe") == "salom dunyo bir ikki"
    assert client.predict(handle_file(CLIP), adapter="uzbek", api_name="/transcribe") == "salom dunyo bir ikki"


def test_base_and_adapter_are_compared_and_rated_where_there_is_a_reference(client: Client) -> None:
    bare = client.predict(handle_file(CLIP), api_name="/compare")
    assert bare["done"] and bare["models"] == [
        {"name": "base", "text": "salem dunya"},
        {"name": "uzbek", "text": "salom dunyo bir ikki"},
    ]
    rated = client.predict(handle_file(CLIP), reference="salom dunyo bir ikki", api_name="/compare")
    assert [model["wer"] for model in rated["models"]] == [1.0, 0.0]


def test_the_names_of_what_a_program_gives_stay(client: Client) -> None:
    endpoints = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    named = {name: [each["parameter_name"] for each in endpoint["parameters"]] for name, endpoint in endpoints.items()}
    assert named == {
        "/transcribe": ["audio", "adapter"],
        "/compare": ["recording", "first", "second", "reference"],
    }


def test_a_program_that_leaves_in_the_middle_frees_its_place(
    address: str, client: Client, listening: ValidationSet
) -> None:
    url = f"{address}gradio_api/"
    path = httpx.post(url + "upload", files={"files": ("a.ogg", CLIP.read_bytes())}, timeout=60).json()[0]
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "uzbek"]
    event = httpx.post(url + "call/transcribe", json={"data": data}, timeout=60).json()["event_id"]
    with httpx.stream("GET", f"{url}call/transcribe/{event}", timeout=60) as answer:
        assert next(answer.iter_lines()).startswith("event:")
    assert client.predict(handle_file(CLIP), api_name="/transcribe") == "salom dunyo bir ikki"
    deadline = time.monotonic() + 20
    while listening.closed < len(listening.asked) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert listening.closed == len(listening.asked)
