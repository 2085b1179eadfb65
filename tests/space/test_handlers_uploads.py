"""What a program may not send in the place of a recording, over plain HTTP and with Gradio's client."""

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
from tests.space.stub import CLIP, ROOT, Stub
from tests.space.pages import about_what


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        demo = about_what(ready=Stub, settings=Space(max_megabytes=1))
        page = app.build(demo)
        yield app.start(page, demo)
        page.close(verbose=False)


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Address of a recording on another server, and what that was asked for."""
    asked: list[str] = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CLIP.read_bytes())

        do_HEAD = do_GET

        def log_message(self, format: str, *values: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/clip.ogg", asked
        server.shutdown()


def call(address: str, endpoint: str, *data: object) -> str:
    """What the page answers to a program that speaks plain HTTP."""
    url = f"{address}gradio_api/call/{endpoint}"
    event = httpx.post(url, json={"data": data}, timeout=60).raise_for_status().json()["event_id"]
    return httpx.get(f"{url}/{event}", timeout=60).raise_for_status().text


def as_file(path: str, **more: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def upload(address: str) -> str:
    """Path of a clip on the server."""
    answer = httpx.post(f"{address}gradio_api/upload", files={"files": ("clip.ogg", CLIP.read_bytes())}, timeout=60)
    return str(answer.raise_for_status().json()[0])


def test_what_was_uploaded_is_heard(address: str) -> None:
    assert json.dumps("salom") in call(address, "transcribe", as_file(upload(address)), "uzbek")


@pytest.mark.parametrize("endpoint", ["transcribe", "compare"])
@pytest.mark.parametrize("path", ["/etc/passwd", "README.md", str(CLIP), str(CLIP.relative_to(ROOT)), "../../x.wav"])
def test_files_of_the_server_are_refused(address: str, endpoint: str, path: str) -> None:
    rest = ["uzbek"] if endpoint == "transcribe" else ["base", "uzbek", ""]
    answer = call(address, endpoint, as_file(path), *rest)
    assert "event: error" in answer and "event: complete" not in answer
    assert "Traceback" not in answer and "salom" not in answer and "root:" not in answer


@pytest.mark.parametrize("endpoint", ["transcribe", "compare"])
def test_addresses_are_not_fetched(address: str, elsewhere: tuple[str, list[str]], endpoint: str) -> None:
    url, asked = elsewhere
    rest = ["uzbek"] if endpoint == "transcribe" else ["base", "uzbek", ""]
    assert "event: error" in call(address, endpoint, as_file(url), *rest)
    assert "event: error" in call(address, endpoint, as_file(url.upper(), url=url), *rest)
    assert not asked


def test_an_address_beside_an_upload_is_not_fetched(address: str, elsewhere: tuple[str, list[str]]) -> None:
    url, asked = elsewhere
    call(address, "transcribe", as_file(upload(address), url=url), "uzbek")
    assert not asked


def test_a_program_that_sends_an_address_is_told(address: str, elsewhere: tuple[str, list[str]]) -> None:
    url, asked = elsewhere
    client = Client(address, verbose=False)
    with pytest.raises(AppError, match=r"^Addresses are not fetched here; send the file itself\.$"):
        client.predict(handle_file(url), "uzbek", api_name="/transcribe")
    client.close()
    assert not asked


def test_too_large_a_file_is_not_taken(address: str, tmp_path: Path) -> None:
    url = f"{address}gradio_api/upload"
    refused = httpx.post(url, files={"files": ("big.wav", b"x" * (2**20 + 2**19))}, timeout=60)
    assert refused.status_code == 413 and "Traceback" not in refused.text
    assert "salom" in call(address, "transcribe", as_file(upload(address)), "uzbek")


def test_the_page_gives_no_files_away(address: str) -> None:
    for path in ("/etc/passwd", str(ROOT / "README.md"), "README.md", "space/app.py"):
        assert httpx.get(f"{address}gradio_api/file={path}", timeout=60).status_code in (403, 404)
