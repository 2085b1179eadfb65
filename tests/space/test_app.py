"""The page over HTTP, as programs use it."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from escoita.errors import EscoitaError
from escoita.recipe import Space
from escoita.transcript import Transcript
from space import app
from space.look import heading, short_name, status_line
from tests.space.stub import CLIP, ROOT, Stub


SERVE = """
import sys
from escoita.recipe import Space
from escoita.transcribe import Transcriber
from space.app import serve
from tests.space.stub import Stub

Transcriber.load = lambda *arguments: Stub()
serve("acme/base", "acme/adapter", Space(), "Demo", int(sys.argv[1]))
"""


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads"


@pytest.fixture
def stub() -> Stub:
    return Stub("salom <b>dunyo</b>", delay=0.2)


@pytest.fixture
def client(uploads: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(app, "UPLOAD_LIFE", (1, 1))
    settings = Space(examples=[str(CLIP)])
    page = app.build(stub, settings, "Demo", "acme/base")
    client = Client(app.start(page, settings), verbose=False)
    yield client
    client.close()
    page.close(verbose=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_file_in_and_its_text_out(client: Client) -> None:
    assert client.predict(handle_file(CLIP), api_name="/transcribe") == "salom <b>dunyo</b>"
    assert list(client.view_api(print_info=False, return_format="dict")["named_endpoints"]) == ["/transcribe"]


def test_a_bad_file_is_a_message_and_no_traceback(
    client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.wav").write_bytes(b"%PDF-1.7")
    with pytest.raises(AppError, match=r"^letter\.wav: not a recording that can be read"):
        client.predict(handle_file(tmp_path / "letter.wav"), api_name="/transcribe")
    assert "Traceback" not in "".join(capfd.readouterr())


def test_the_model_hears_one_visitor_at_a_time(client: Client, stub: Stub) -> None:
    jobs = [client.submit(handle_file(CLIP), api_name="/transcribe") for _ in range(4)]
    assert [job.result(timeout=60) for job in jobs] == ["salom <b>dunyo</b>"] * 4
    assert stub.most_at_once == 1


def test_uploads_are_deleted_and_examples_stay(client: Client, tmp_path: Path, uploads: Path) -> None:
    upload = tmp_path / "mine.ogg"
    upload.write_bytes(CLIP.read_bytes() + b"\x00")
    client.predict(handle_file(upload), api_name="/transcribe")
    assert list(uploads.rglob("mine.ogg"))
    deadline = time.monotonic() + 20
    while list(uploads.rglob("mine.ogg")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not list(uploads.rglob("mine.ogg"))
    assert list(uploads.rglob(CLIP.name))


def test_a_missing_example_is_named(stub: Stub) -> None:
    with pytest.raises(EscoitaError, match=r"^space\.examples: clips/a\.wav: no such file$"):
        app.build(stub, Space(examples=["clips/a.wav"]), "Demo", "acme/base")


def test_a_port_that_is_taken(stub: Stub, uploads: Path) -> None:
    page = app.build(stub, Space(), "Demo", "acme/base")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EscoitaError, match=f"^port {port}: taken.*--port$"):
            app.start(page, Space(), port)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_its_address_and_ends_quietly(tmp_path: Path, ending: signal.Signals) -> None:
    port = free_port()
    command = [sys.executable, "-c", SERVE, str(port)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert re.match(rf"Listening on http://127\.0\.0\.1:{port}/ ", line), process.communicate(timeout=60)
            assert list(tmp_path.glob("escoita-space-*"))
            process.send_signal(ending)
            assert process.communicate(timeout=60) == ("", "")
        finally:
            process.kill()
    assert process.returncode == 0
    assert not list(tmp_path.glob("escoita-space-*"))


def test_names_are_escaped_and_short() -> None:
    page = heading("<i>Uzbek</i>", "30 seconds", "/srv/models/gemma <4>", "runs/demo/adapter")
    assert "<i>" not in page and "&lt;i&gt;Uzbek&lt;/i&gt;" in page
    assert "Base model: models/gemma &lt;4&gt;. Adapter: demo/adapter" in page
    assert short_name("acme/base") == "acme/base"


def test_status_line() -> None:
    assert status_line(Transcript("salom", 4.24, 0.82)) == "4.2 s of audio, transcribed in 0.8 s"
    assert status_line(Transcript("", 4.24, 0.82)) == "4.2 s of audio, transcribed in 0.8 s: no words"
