"""Test that paths and URLs are refused, over plain HTTP and with Gradio's client."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from escoita.recipe.schema import Space
from escoita.space import app
from escoita.space.texts import translate
from tests.space.pages import demo_of
from tests.space.stub import CLIP, ROOT, Stub


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        demo = demo_of(ready=Stub, settings=Space(max_megabytes=1))
        page = app.build(demo)
        yield app.start(page, demo)
        page.close(verbose=False)


@pytest.fixture
def other_server() -> Iterator[tuple[str, list[str]]]:
    """Serve a recording on another server, and yield its URL and the requests."""
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CLIP.read_bytes())

        do_HEAD = do_GET

        def log_message(self, format: str, *values: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/clip.ogg", requests
        server.shutdown()


def call(address: str, endpoint: str, *data: object) -> str:
    """Call an endpoint over plain HTTP, and return the answer."""
    url = f"{address}gradio_api/call/{endpoint}"
    event = httpx.post(url, json={"data": data}, timeout=60).raise_for_status().json()["event_id"]
    return httpx.get(f"{url}/{event}", timeout=60).raise_for_status().text


def as_file(path: str, **more: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def upload(address: str) -> str:
    """Upload a clip, and return its path on the server."""
    answer = httpx.post(f"{address}gradio_api/upload", files={"files": ("clip.ogg", CLIP.read_bytes())}, timeout=60)
    return str(answer.raise_for_status().json()[0])


def test_an_upload_is_transcribed(address: str) -> None:
    assert json.dumps("salom") in call(address, "transcribe", as_file(upload(address)), "uzbek")


@pytest.mark.parametrize("endpoint", ["transcribe", "compare"])
@pytest.mark.parametrize("path", ["/etc/passwd", "README.md", str(CLIP), str(CLIP.relative_to(ROOT)), "../../x.wav"])
def test_files_of_the_server_are_refused(address: str, endpoint: str, path: str) -> None:
    rest = ["uzbek"] if endpoint == "transcribe" else ["base", "uzbek", ""]
    answer = call(address, endpoint, as_file(path), *rest)
    assert "event: error" in answer and "event: complete" not in answer
    assert "Traceback" not in answer and "salom" not in answer and "root:" not in answer


@pytest.mark.parametrize("endpoint", ["transcribe", "compare"])
def test_urls_are_not_downloaded(address: str, other_server: tuple[str, list[str]], endpoint: str) -> None:
    url, requests = other_server
    rest = ["uzbek"] if endpoint == "transcribe" else ["base", "uzbek", ""]
    assert "event: error" in call(address, endpoint, as_file(url), *rest)
    assert "event: error" in call(address, endpoint, as_file(url.upper(), url=url), *rest)
    assert not requests


def test_a_url_in_addition_to_an_upload_is_not_downloaded(address: str, other_server: tuple[str, list[str]]) -> None:
    url, requests = other_server
    call(address, "transcribe", as_file(upload(address), url=url), "uzbek")
    assert not requests


def test_a_url_from_the_client_of_gradio_is_refused(address: str, other_server: tuple[str, list[str]]) -> None:
    url, requests = other_server
    client = Client(address, verbose=False)
    with pytest.raises(AppError) as caught:
        client.predict(handle_file(url), "uzbek", api_name="/transcribe")
    client.close()
    assert caught.value.message == translate("refusal.address")
    assert not requests


def test_a_large_file_is_refused(address: str, tmp_path: Path) -> None:
    url = f"{address}gradio_api/upload"
    refused = httpx.post(url, files={"files": ("big.wav", b"x" * (2**20 + 2**19))}, timeout=60)
    assert refused.status_code == 413 and "Traceback" not in refused.text
    assert "salom" in call(address, "transcribe", as_file(upload(address)), "uzbek")


def test_files_of_the_server_are_not_served(address: str) -> None:
    for path in ("/etc/passwd", str(ROOT / "README.md"), "README.md", "space/app.py"):
        assert httpx.get(f"{address}gradio_api/file={path}", timeout=60).status_code in (403, 404)
