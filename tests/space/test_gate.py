"""The middleware by itself: who it says asks, and what it refuses."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from escoita.space import client_limits as module
from escoita.space.client_limits import HEADER, MEGABYTE, Clients, Gate


RECORDING = {"files": ("clip.wav", b"RIFF" * 100)}


class Page:
    """Answers with who asks, and how much it has sent."""

    def __init__(self, proxy_hops: int = 0):
        self.clients, self.cookies = Clients(proxy_hops), httpx.Cookies()
        gate = Middleware(Gate, self.clients, 1.0, ["en", "gl"])
        routes = [Route("/{path:path}", self.answer, methods=["GET", "POST"])]
        self.app = Starlette(routes=routes, middleware=[gate])

    async def answer(self, request: Request) -> JSONResponse:
        client = self.clients.known(request.headers)
        assert client is not None
        return JSONResponse([client.address, client.session, len(await request.body())])

    def ask(
        self, method: str, path: str, peer: str = "5.5.5.5", cookies: Any = None, **options: Any
    ) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(peer, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://page", cookies=cookies) as client:
                return await client.request(method, path, **options)

        return asyncio.run(asked())


def test_a_browser_gets_a_session_once() -> None:
    page = Page()
    first = page.ask("GET", "/config")
    assert first.json()[:2] == ["5.5.5.5", None] and "HttpOnly; SameSite=Lax" in first.headers["set-cookie"]
    again = page.ask("GET", "/", cookies=first.cookies)
    assert again.json()[1] == first.cookies[page.clients.cookie] and "set-cookie" not in again.headers
    assert "set-cookie" not in page.ask("GET", "/assets/a.js").headers


def test_in_the_frame_of_the_hub_the_cookie_is_kept() -> None:
    cookie = Page().ask("GET", "/", headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    assert "SameSite=None; Secure; Partitioned" in cookie


@pytest.mark.parametrize(("hops", "address"), [(0, "5.5.5.5"), (1, "2.2.2.2")])
def test_who_asks_is_told_by_the_trusted_proxy_alone(hops: int, address: str) -> None:
    headers = {"X-Forwarded-For": "1.1.1.1, 2.2.2.2", HEADER: "secret 9.9.9.9 a"}
    assert Page(hops).ask("POST", "/call", headers=headers).json()[0] == address


def test_the_21st_upload_is_refused_and_others_of_the_address_are_not() -> None:
    page = Page()
    for _ in range(module.MAX_UPLOADS):
        assert page.ask("POST", "/gradio_api/upload", files=RECORDING).status_code == 200
    refused = page.ask("POST", "/gradio_api/upload", files=RECORDING, headers={"Accept-Language": "gl"})
    assert refused.status_code == 429 and refused.headers["retry-after"] == "900"
    assert refused.text == "Enviouse demasiado desde aquí; téntao máis tarde."
    assert page.ask("POST", "/gradio_api/process_recording", files=RECORDING).status_code == 429
    assert page.ask("POST", "/gradio_api/call/transcribe", json={}).status_code == 200
    assert page.ask("POST", "/gradio_api/upload", files=RECORDING, peer="6.6.6.6").status_code == 200
    cookies = page.ask("GET", "/").cookies
    assert page.ask("POST", "/gradio_api/upload", files=RECORDING, cookies=cookies).status_code == 200


@pytest.mark.parametrize(
    ("path", "most", "form"),
    [
        ("/gradio_api/upload", MEGABYTE, True),
        ("/gradio_api/call/transcribe", MEGABYTE, False),
        ("/gradio_api/mcp/", 2 * MEGABYTE, False),
    ],
)
@pytest.mark.parametrize("declared", [True, False])
def test_a_large_body_is_refused_before_it_is_read(path: str, most: int, form: bool, declared: bool) -> None:
    async def chunks() -> Any:
        for _ in range(2 + most // MEGABYTE):
            yield b"x" * (MEGABYTE - 1000)

    content: Any = b"x" * (2 * most + MEGABYTE) if declared else chunks()
    headers = {"content-type": "multipart/form-data; boundary=b"} if form else {}
    assert Page().ask("POST", path, content=content, headers=headers).status_code == 413
    assert Page().ask("POST", path, content=b"x" * (most - 1000), headers=headers).json()[2] == most - 1000


def test_a_flood_of_calls_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CALLS", 3)
    page = Page()
    assert [page.ask("POST", "/call").status_code for _ in range(5)] == [200] * 3 + [429] * 2
    assert page.ask("GET", "/").status_code == page.ask("GET", "/config").status_code == 429
    assert page.ask("GET", "/assets/a.js").status_code == page.ask("GET", "/", "6.6.6.6").status_code == 200


def test_what_this_process_asks_of_itself_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UPLOADS", 0)
    page = Page()
    inner = {HEADER: page.clients.header(module.Client("1.1.1.1", None))}
    assert page.ask("POST", "/upload", files=RECORDING, headers=inner).json()[0] == "1.1.1.1"
    assert page.ask("POST", "/upload", files=RECORDING).status_code == 429
