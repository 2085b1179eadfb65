"""Test which responses of a server are used, which requests are repeated, and which responses are refused."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import soundfile
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from escoita.errors import EscoitaError
from escoita.evaluation import endpoint as module
from escoita.evaluation.endpoint import KEY_VARIABLE, OPENAI_VARIABLE, RESPONSE_BYTES, Endpoint, EndpointError
from tests.evaluation.endpoint_double import Double, double, text
from tests.length_model import clip


KEY = "sk-0123456789"


@pytest.fixture
def server() -> Iterator[Double]:
    with double() as state:
        yield state


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record how long each wait would be, and do not wait."""
    waits: list[float] = []
    monkeypatch.setattr(module, "sleep_using_event", lambda event: waits.append)
    return waits


def ask(server: Double, samples: np.ndarray | None = None, **environment: str) -> module.EndpointTranscript:
    with Endpoint(server.url, "m", environment) as endpoint:
        endpoint.listed_model()
        return endpoint.transcribe(clip(8000) if samples is None else samples, "uz", "clip 1")


def test_a_clip_is_sent_as_wav_with_temperature_0(server: Double) -> None:
    server.replies = [text(" salom ", model="m-2026")]
    samples = clip(8000)
    answer = ask(server, samples, **{KEY_VARIABLE: KEY})
    assert (answer.text, answer.model) == ("salom", "m-2026")
    (sent,) = server.requests
    assert {key: sent[key] for key in ("model", "temperature", "language", "response_format")} == {
        "model": "m",
        "temperature": "0",
        "language": "uz",
        "response_format": "json",
    }
    received, rate = soundfile.read(io.BytesIO(sent["file"]), dtype="float32")
    assert rate == 16_000
    np.testing.assert_allclose(received, samples, atol=4e-5)
    assert sent["headers"]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("https://API.example.com", "https://api.example.com/v1"),
        ("https://example.com/openai/v1", "https://example.com/openai/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_urls(url: str, address: str) -> None:
    with Endpoint(url, "m", {}) as endpoint:
        assert endpoint.url == address
        assert endpoint.local == ("localhost" in url or "::1" in url)


@pytest.mark.parametrize(
    "url",
    ["", "example.com", "ftp://example.com", "https://", "https://user:secret@host/v1", "https://host/?key=secret"]
    + ["https://host:99999", "https://ho st", "file:///etc/passwd"],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(EscoitaError) as refused:
        Endpoint(url, "m", {})
    assert refused.value.key == "--endpoint"
    assert "secret" not in str(refused.value)


def test_the_key_of_openai_is_sent_to_openai_only() -> None:
    environment = {OPENAI_VARIABLE: KEY}
    for url, sent in (("https://api.openai.com/v1", True), ("http://api.openai.com/v1", False)):
        with Endpoint(url, "m", environment) as endpoint:
            assert ("authorization" in endpoint._http.headers) == sent
    with Endpoint("https://api.openai.com.example.org/v1", "m", environment) as endpoint:
        assert "authorization" not in endpoint._http.headers


def test_a_key_that_cannot_be_sent_is_refused_without_being_printed() -> None:
    with pytest.raises(EscoitaError) as refused:
        Endpoint("https://host", "m", {KEY_VARIABLE: "two\nlines"})
    assert refused.value.key == KEY_VARIABLE
    assert "lines" not in str(refused.value)


def test_local_requests_use_no_proxy(server: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(server).text == "salom"


def test_requests_to_a_busy_server_are_repeated_after_the_stated_time(server: Double, no_waiting: list[float]) -> None:
    busy = [Response(status_code=429, headers={"Retry-After": "7"}), Response(status_code=500)]
    server.replies = [*busy, Response(status_code=503), text("salom")]
    assert ask(server).text == "salom"
    assert no_waiting[0] == 7
    assert len(no_waiting) == len(server.requests) - 1 == 3
    assert all(wait < 35 for wait in no_waiting)


def test_the_number_of_attempts_is_limited(server: Double) -> None:
    server.replies = [Response(status_code=500) for _ in range(100)]
    with pytest.raises(EndpointError) as refused:
        ask(server)
    assert refused.value.path == "127.0.0.1"
    assert len(server.requests) == module.ATTEMPTS
    server.requests.clear()
    server.replies = [Response(status_code=429, headers={"Retry-After": "999999"})]
    with pytest.raises(EndpointError):
        ask(server)
    assert len(server.requests) == 1


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(65_536)


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (JSONResponse({"error": {"message": "wrong key"}}, 401), 401),
        (JSONResponse({"error": "no\x1b[31m such model"}, 404), 404),
        (Response("<html>", 400), 400),
        (Response("<html>garbage"), 200),
        (Response("[1, 2]"), 200),
        (Response('{"text": 1e999}'), 200),
        (Response("{" * 100_000), 200),
        (Response('{"text": "a", "text": "b"}'), 200),
        (Response(b'{"text": "\xff"}'), 200),
        (JSONResponse({"words": []}), None),
        (JSONResponse({"text": None}), None),
        (JSONResponse({"text": "x" * 200_000}), None),
        (JSONResponse({"text": "x " * 30_000}), None),
        (Response('{"text": "\\ud800"}'), None),
        (Response("x" * (RESPONSE_BYTES + 1)), 200),
        (StreamingResponse(endless()), 200),
        (Response(b"x", headers={"Content-Encoding": "gzip"}), 200),
        (RedirectResponse("https://evil.example/v1/audio/transcriptions", 307), 307),
        (RedirectResponse("http://169.254.169.254/", 302), 302),
    ],
)
def test_answers_that_are_no_transcripts_are_refused_at_once(reply: Response, status: int, server: Double) -> None:
    server.replies = [reply]
    with pytest.raises(EndpointError) as refused:
        ask(server)
    assert len(server.requests) == 1
    assert refused.value.path == "127.0.0.1"
    if status is not None:
        assert refused.value.status == status
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_a_key_that_the_server_sends_back_is_not_printed(server: Double) -> None:
    server.replies = [JSONResponse({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401)]
    with pytest.raises(EndpointError) as refused:
        ask(server, **{KEY_VARIABLE: KEY})
    assert KEY not in str(refused.value)


def test_the_list_of_models(server: Double) -> None:
    with Endpoint(server.url, "m", {}) as endpoint:
        assert endpoint.listed_model() == "m"
        server.models = JSONResponse({"data": [{"id": "other\x1b"}, {"id": 5}, 7]})
        with pytest.raises(EndpointError) as refused:
            endpoint.listed_model()
        assert (refused.value.key, refused.value.value) == ("--model", "m")
        assert "\x1b" not in str(refused.value)
        for answer in (Response(status_code=404), JSONResponse({"data": "none"}), JSONResponse({})):
            server.models = answer
            assert endpoint.listed_model() is None


def test_a_request_to_an_address_without_a_server_is_not_repeated(no_waiting: list[float]) -> None:
    with Endpoint("http://127.0.0.1:9", "m", {}) as endpoint, pytest.raises(EndpointError):
        endpoint.listed_model()
    assert no_waiting == []


@contextmanager
def raw_server(reply: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accept connections, and let a function answer them until it ends or the connection is closed."""

    def answer(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # the test is over
                return
            with connection, suppress(OSError):
                connection.recv(65_536)
                reply(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _endless(start: bytes, again: bytes) -> Callable[[socket.socket], None]:
    def reply(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(again)
            time.sleep(0.05)

    return reply


@pytest.mark.parametrize(
    "reply",
    [
        _endless(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        _endless(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
    ],
    ids=["headers", "100 Continue", "body"],
)
def test_an_endless_response_is_refused(
    reply: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.5)
    with raw_server(reply) as url, Endpoint(url, "m", {}) as endpoint, pytest.raises(EndpointError):
        endpoint.transcribe(clip(8000), "uz", "clip 1")


def test_many_combining_marks_are_refused_before_they_are_stored(server: Double) -> None:
    server.replies = [text("a" + "\u0301" * 31)]
    with pytest.raises(EndpointError):
        ask(server)
