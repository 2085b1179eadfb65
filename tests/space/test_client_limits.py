"""Test the identification of clients, their limits, and the middleware that applies them."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from escoita.errors import ShareError
from escoita.inference.fairness import Client
from escoita.recipe.schema import Space
from escoita.space import client_limits as module
from escoita.space.client_limits import (
    ADDRESS_SESSIONS,
    HEADER,
    MAX_UPLOADED,
    MAX_UPLOADS,
    MEGABYTE,
    WINDOW,
    Clients,
    Gate,
    limits,
    normalize_address,
)
from escoita.space.texts import translate
from tests.space.stub import CLIP, FORMATS, transcribe, write_clip


RECORDING = {"files": ("clip.wav", b"RIFF" * 100)}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def session(clients: Clients, address: str, value: str) -> Client:
    return clients.client(address, f"{clients.cookie}={value.ljust(20, 'x')}")


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, [], "10.0.0.1"),
        (0, ["1.2.3.4"], "10.0.0.1"),  # anyone can send the header
        (1, [], "10.0.0.1"),
        (1, ["1.2.3.4"], "1.2.3.4"),
        (1, ["9.9.9.9, 1.2.3.4"], "1.2.3.4"),
        (1, ["9.9.9.9", "1.2.3.4"], "1.2.3.4"),
        (1, ["forged, , 1.2.3.4 "], "1.2.3.4"),
        (2, ["9.9.9.9, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        (2, ["1.2.3.4"], "1.2.3.4"),
        (1, ["9.9.9.9, 1.2.3.4:5678"], "1.2.3.4"),
    ],
)
def test_the_address_is_the_rightmost_one_of_no_trusted_proxy(hops: int, forwarded: list[str], address: str) -> None:
    assert Clients(hops).address("10.0.0.1", forwarded) == address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("<b> \r\n", "_b____"),
        ("", ""),
    ],
)
def test_normalize_address(address: str, expected: str) -> None:
    assert normalize_address(address) == expected


def test_a_client_is_a_session_at_an_address() -> None:
    clients = Clients()
    ours = session(clients, "1.1.1.1", "a")
    assert ours == session(clients, "1.1.1.1", "a") != session(clients, "1.1.1.1", "b")
    assert ours != session(clients, "2.2.2.2", "a")
    assert (
        clients.client("1.1.1.1", "")
        == clients.client("1.1.1.1", f"{clients.cookie}=short")
        == Client("1.1.1.1", None)
    )
    assert clients.client("1.1.1.1", "other=1; \x00=; ]") == Client("1.1.1.1", None)


def test_sessions_over_the_limit_of_an_address_are_one_client(clock: list[float]) -> None:
    clients = Clients()
    known = [session(clients, "1.1.1.1", f"s{number}") for number in range(ADDRESS_SESSIONS)]
    assert len(set(known)) == ADDRESS_SESSIONS
    assert session(clients, "1.1.1.1", "more") == session(clients, "1.1.1.1", "again") == Client("1.1.1.1", None)
    assert session(clients, "1.1.1.1", "s0") == known[0]
    assert session(clients, "2.2.2.2", "more").session is not None
    clock[0] += WINDOW + 1
    assert session(clients, "1.1.1.1", "more").session is not None


def test_uploads_of_a_client_are_limited(clock: list[float]) -> None:
    clients = Clients()
    ours, others = Client("1.1.1.1", "a"), Client("1.1.1.1", "b")
    for _ in range(MAX_UPLOADS):
        clients.take_upload(ours, 1)
    with pytest.raises(ShareError):
        clients.take_upload(ours, 1)
    clients.take_upload(others, 1)
    clock[0] += WINDOW + 1
    clients.take_upload(ours, 1)


def test_bytes_of_a_client_are_limited() -> None:
    clients = Clients()
    clients.take_upload(Client("1.1.1.1", "a"), MAX_UPLOADED - MEGABYTE)
    with pytest.raises(ShareError):
        clients.take_upload(Client("1.1.1.1", "a"), MEGABYTE + 1)
    clients.take_upload(Client("1.1.1.1", "a"), MEGABYTE)


def test_fifty_clients_of_one_address_can_use_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    clients = Clients()
    for number in range(50):
        for _ in range(MAX_UPLOADS):
            clients.take_upload(Client("1.1.1.1", str(number)), MEGABYTE)
    with pytest.raises(ShareError):
        clients.take_upload(Client("1.1.1.1", "new"), MEGABYTE)
    clients.take_upload(Client("2.2.2.2", "new"), MEGABYTE)


def test_expired_entries_are_removed(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY_KEYS", 10)
    clients = Clients()
    for number in range(100):
        clients.take_call(session(clients, f"1.1.1.{number}", "a"))
        clock[0] += WINDOW / 2 if number % 2 else 1
    assert len(clients._calls._entries) < 20 and len(clients._sessions) < 20


def test_a_header_from_outside_is_ignored() -> None:
    clients, others = Clients(), Clients()
    client = Client("1.1.1.1", "a" * 20)
    assert clients.known({HEADER: clients.header(client)}) == client
    assert clients.known({HEADER: clients.header(Client("mcp", None))}) == Client("mcp", None)
    for forged in (others.header(client), " 1.1.1.1", "é 1.1.1.1 a", ""):
        assert clients.known({HEADER: forged}) is None


def test_limits_in_words() -> None:
    assert limits(Space(max_minutes=5)) == "5 minutes and 10 MB"
    assert limits(Space(max_minutes=0.2, max_megabytes=0.5)) == "12 seconds and 0.5 MB"
    assert limits(Space(max_minutes=0.5), "gl") == "30 segundos e 10 MB"


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_accepted(tmp_path: Path, kind: str) -> None:
    transcript = transcribe(write_clip(tmp_path / f"clip.{kind}"))
    assert transcript.text == "salom"
    assert transcript.audio_seconds == pytest.approx(1.0, abs=0.1)


def test_a_recording_may_be_longer_than_a_segment(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "long.flac", 31)
    assert transcribe(path, Space(max_minutes=5)).audio_seconds == 31.0


def test_a_real_clip_is_accepted() -> None:
    assert transcribe(CLIP).audio_seconds == pytest.approx(0.77, abs=0.01)


class Page:
    """Answer with the client of the request, and the size of its body."""

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
        async def request() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(peer, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://page", cookies=cookies) as client:
                return await client.request(method, path, **options)

        return asyncio.run(request())


def test_a_browser_gets_a_session_once() -> None:
    page = Page()
    first = page.ask("GET", "/config")
    assert first.json()[:2] == ["5.5.5.5", None] and "HttpOnly; SameSite=Lax" in first.headers["set-cookie"]
    again = page.ask("GET", "/", cookies=first.cookies)
    assert again.json()[1] == first.cookies[page.clients.cookie] and "set-cookie" not in again.headers
    assert "set-cookie" not in page.ask("GET", "/assets/a.js").headers


def test_the_cookie_is_valid_in_the_frame_of_the_hub() -> None:
    cookie = Page().ask("GET", "/", headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    assert "SameSite=None; Secure; Partitioned" in cookie


@pytest.mark.parametrize(("hops", "address"), [(0, "5.5.5.5"), (1, "2.2.2.2")])
def test_only_a_trusted_proxy_names_the_client(hops: int, address: str) -> None:
    headers = {"X-Forwarded-For": "1.1.1.1, 2.2.2.2", HEADER: "secret 9.9.9.9 a"}
    assert Page(hops).ask("POST", "/call", headers=headers).json()[0] == address


def test_the_21st_upload_of_a_client_is_refused() -> None:
    page = Page()
    for _ in range(module.MAX_UPLOADS):
        assert page.ask("POST", "/gradio_api/upload", files=RECORDING).status_code == 200
    refused = page.ask("POST", "/gradio_api/upload", files=RECORDING, headers={"Accept-Language": "gl"})
    assert refused.status_code == 429 and refused.headers["retry-after"] == "900"
    assert refused.text == translate("refusal.sent", "gl")
    assert page.ask("POST", "/gradio_api/process_recording", files=RECORDING).status_code == 429
    assert page.ask("POST", "/gradio_api/call/transcribe", json={}).status_code == 200
    assert page.ask("POST", "/gradio_api/upload", files=RECORDING, peer="6.6.6.6").status_code == 200
    cookies = page.ask("GET", "/").cookies
    assert page.ask("POST", "/gradio_api/upload", files=RECORDING, cookies=cookies).status_code == 200


@pytest.mark.parametrize(
    ("path", "max_bytes", "form"),
    [
        ("/gradio_api/upload", MEGABYTE, True),
        ("/gradio_api/call/transcribe", MEGABYTE, False),
        ("/gradio_api/mcp/", 2 * MEGABYTE, False),
    ],
)
@pytest.mark.parametrize("declared", [True, False])
def test_a_large_body_is_refused_before_it_is_read(path: str, max_bytes: int, form: bool, declared: bool) -> None:
    async def chunks() -> Any:
        for _ in range(2 + max_bytes // MEGABYTE):
            yield b"x" * (MEGABYTE - 1000)

    content: Any = b"x" * (2 * max_bytes + MEGABYTE) if declared else chunks()
    headers = {"content-type": "multipart/form-data; boundary=b"} if form else {}
    assert Page().ask("POST", path, content=content, headers=headers).status_code == 413
    assert Page().ask("POST", path, content=b"x" * (max_bytes - 1000), headers=headers).json()[2] == max_bytes - 1000


def test_calls_over_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CALLS", 3)
    page = Page()
    assert [page.ask("POST", "/call").status_code for _ in range(5)] == [200] * 3 + [429] * 2
    assert page.ask("GET", "/").status_code == page.ask("GET", "/config").status_code == 429
    assert page.ask("GET", "/assets/a.js").status_code == page.ask("GET", "/", "6.6.6.6").status_code == 200


def test_requests_of_this_process_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UPLOADS", 0)
    page = Page()
    inner = {HEADER: page.clients.header(module.Client("1.1.1.1", None))}
    assert page.ask("POST", "/upload", files=RECORDING, headers=inner).json()[0] == "1.1.1.1"
    assert page.ask("POST", "/upload", files=RECORDING).status_code == 429
