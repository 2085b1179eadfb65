"""Test the page as a server of the Model Context Protocol."""

import asyncio
import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from escoita.recipe.schema import Space
from escoita.space import app
from escoita.space.texts import translate
from tests.space.pages import demo_of
from tests.space.stub import CLIP, Stub


RECORDING = "data:audio/ogg;base64," + base64.b64encode(CLIP.read_bytes()).decode()


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("mcp", reason="pip install 'mcp<2'")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr("gradio.mcp.DEFAULT_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr(app, "UPLOAD_LIFE", (1, 1))
    demo = demo_of(ready=lambda: Stub("salom dunyo"), settings=Space(mcp=True))
    page = app.build(demo)
    yield app.start(page, demo)
    page.close(verbose=False)


def call_tool(address: str, tool: str, **arguments: str) -> tuple[dict[str, Any], Any]:
    """Return the tools of the page by name, and the answer of one of them."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def call() -> tuple[dict[str, Any], Any]:
        async with (
            streamable_http_client(f"{address}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {each.name: each for each in (await session.list_tools()).tools}
            return tools, await session.call_tool(tool, arguments)

    return asyncio.run(asyncio.wait_for(call(), 60))


def test_tools_are_described_and_transcribe(address: str) -> None:
    tools, answer = call_tool(address, "transcribe", audio=RECORDING, adapter="uzbek")
    assert sorted(tools) == ["compare", "transcribe"]
    assert "Transcribe a recording" in tools["transcribe"].description
    assert not answer.isError and "salom dunyo" in answer.content[0].text


def test_recordings_are_deleted(address: str, tmp_path: Path) -> None:
    def stored() -> list[Path]:
        return [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]

    call_tool(address, "transcribe", audio=RECORDING, adapter="uzbek")
    deadline = time.monotonic() + 20
    while stored() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not stored()


def test_a_url_is_refused(address: str) -> None:
    _, answer = call_tool(address, "transcribe", audio="http://127.0.0.1:9/clip.ogg", adapter="uzbek")
    assert answer.isError
    assert answer.content[0].text == translate("refusal.address")


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = demo_of(settings=Space(mcp=True))
    page = app.build(demo)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(app.McpPackageError) as caught:
        app.start(page, demo)
    assert caught.value.key == "space.mcp"
