"""Language models that call the page, over the Model Context Protocol."""

import asyncio
import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from escoita.errors import EscoitaError
from escoita.recipe.schema import Space
from escoita.space import app
from tests.space.stub import CLIP, Stub
from tests.space.pages import about_what


RECORDING = "data:audio/ogg;base64," + base64.b64encode(CLIP.read_bytes()).decode()


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("mcp", reason="pip install 'mcp<2'")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr("gradio.mcp.DEFAULT_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr(app, "UPLOAD_LIFE", (1, 1))
    demo = about_what(ready=lambda: Stub("salom dunyo"), settings=Space(mcp=True))
    page = app.build(demo)
    yield app.start(page, demo)
    page.close(verbose=False)


def asked(address: str, tool: str, **arguments: str) -> tuple[dict[str, Any], Any]:
    """The tools that the page offers, each with what it takes, and what one of them answers."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def ask() -> tuple[dict[str, Any], Any]:
        async with (
            streamable_http_client(f"{address}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {each.name: each for each in (await session.list_tools()).tools}
            return tools, await session.call_tool(tool, arguments)

    return asyncio.run(asyncio.wait_for(ask(), 60))


def test_a_tool_is_listed_with_what_it_does_and_transcribes(address: str) -> None:
    tools, answer = asked(address, "transcribe", audio=RECORDING, adapter="uzbek")
    assert sorted(tools) == ["compare", "transcribe"]
    assert "Transcribes a recording" in tools["transcribe"].description
    assert not answer.isError and "salom dunyo" in answer.content[0].text


def test_what_was_sent_is_deleted(address: str, tmp_path: Path) -> None:
    def kept() -> list[Path]:
        return [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]

    asked(address, "transcribe", audio=RECORDING, adapter="uzbek")
    deadline = time.monotonic() + 20
    while kept() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not kept()


def test_an_address_is_refused(address: str) -> None:
    _, answer = asked(address, "transcribe", audio="http://127.0.0.1:9/clip.ogg", adapter="uzbek")
    assert answer.isError
    assert answer.content[0].text == "Addresses are not fetched here; send the file itself."


def test_without_its_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = about_what(settings=Space(mcp=True))
    page = app.build(demo)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EscoitaError, match=r"^space\.mcp: a package is missing; pip install '[^']+', or set it"):
        app.start(page, demo)
