import asyncio
import socket
import threading
import time
from typing import Any

import httpx
import pytest

from escoita.errors import EscoitaError
from escoita.inference.serving import Engine
from escoita.recipe.schema import Space
from escoita.serve import server as server_module
from escoita.serve.server import listening, running, serve
from escoita.serve.service import Service
from tests.length_model import Gate, length_transcriber


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(EscoitaError) as refused:
        port = taken.getsockname()[1]
        with listening("127.0.0.1", port):
            pass
    assert (refused.value.key, refused.value.value) == ("--port", port)


def test_while_the_model_loads_responses_have_a_time_to_retry(gate: Gate) -> None:
    def load() -> Engine:
        gate()
        return Engine(length_transcriber(), {}, {})

    service = Service("talker", {}, Space())
    with listening("127.0.0.1", 0) as listener, running(service, load) as (server, loaded):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        gate.wait()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        health = httpx.get(f"{address}/health")
        assert (health.status_code, health.json()) == (503, {"status": "loading"})
        answer = httpx.post(f"{address}/v1/audio/transcriptions", files={"file": b"x"}, data={"model": "talker"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_loading")
        assert int(answer.headers["retry-after"]) > 0
        assert httpx.get(f"{address}/v1/models").status_code == 200
        assert "escoita_ready 0.0" in httpx.get(f"{address}/metrics").text
        gate.release()
        loaded.result(timeout=30)
        assert httpx.get(f"{address}/health").status_code == 200
        server.should_exit = True
        thread.join(timeout=20)


def test_a_server_whose_model_cannot_be_loaded_stops_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def load() -> Engine:
        time.sleep(0.5)
        raise EscoitaError("is no model", path="acme/base")

    with pytest.raises(EscoitaError) as refused:
        serve(Service("talker", {}, Space()), load, "127.0.0.1", 0)
    assert refused.value.path == "acme/base"


def test_the_model_is_closed_at_the_end() -> None:
    class Model:
        closed = False

        def close(self) -> None:
            self.closed = True

    model = Model()
    with running(Service("talker", {}, Space()), lambda: model) as (_, loaded):
        assert loaded.result(timeout=10) is model
    assert model.closed


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nX: "])
def test_connections_without_complete_headers_are_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 0.3)
    service = Service("talker", {}, Space())
    with listening("127.0.0.1", 0) as listener, running(service, lambda: None) as (server, _):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        with socket.create_connection(listener.getsockname(), timeout=4) as connection:
            connection.sendall(sent)
            while connection.recv(65_536):  # a timeout would raise
                pass
        server.should_exit = True
        thread.join(timeout=20)


def test_a_slow_transcription_is_not_cut_off_by_the_limit_of_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 0.2)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.6)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setattr(server_module, "application", lambda service: slow)
    with listening("127.0.0.1", 0) as listener, running(Service("t", {}, Space()), lambda: None) as (server, _):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        assert httpx.get(f"http://127.0.0.1:{listener.getsockname()[1]}/").status_code == 200
        server.should_exit = True
        thread.join(timeout=20)
