"""Test the page over HTTP."""

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
from escoita.recipe.schema import Space
from escoita.space import app
from escoita.space.demo import Loading
from escoita.space.texts import translate
from tests.space.pages import demo_of
from tests.space.stub import CLIP, ROOT, Stub


SERVE = """
import sys, time
from escoita.models.base_model import Base
from escoita.inference.serving import Engine
from escoita.errors import EscoitaError
from escoita.space import demo
from escoita.space.app import serve
from tests.space.stub import Stub
from tests.space.pages import demo_of

def load(*arguments, **settings):
    if sys.argv[2] == "broken":
        raise EscoitaError("not found", path="acme/base")
    return Stub()

Engine.load = load
demo.resolve_base = lambda base, *arguments, **settings: Base(base)
try:
    serve(demo_of(adapters={"uzbek": sys.argv[3]}), int(sys.argv[1]))
except EscoitaError as error:
    sys.exit(f"escoita: {error}")
"""


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads"


@pytest.fixture
def stub() -> Stub:
    return Stub("salom <b>dunyo</b>", delay=0.2)


@pytest.fixture
def client(uploads: Path, stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(app, "UPLOAD_LIFE", (1, 1))
    demo = demo_of(adapters={"uzbek": str(tmp_path)}, settings=Space(examples=[str(CLIP)]), ready=lambda: stub)
    page = app.build(demo)
    client = Client(app.start(page, demo), verbose=False)
    yield client
    client.close()
    page.close(verbose=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_file_is_transcribed(client: Client) -> None:
    assert client.predict(handle_file(CLIP), api_name="/transcribe") == "salom <b>dunyo</b>"
    endpoints = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    assert list(endpoints) == ["/transcribe", "/compare"]


def test_text_is_streamed(client: Client) -> None:
    job = client.submit(handle_file(CLIP), api_name="/transcribe")
    assert job.result(timeout=60) == "salom <b>dunyo</b>"
    assert job.outputs() == ["salom", "salom <b>dunyo</b>"]


def test_a_bad_file_is_refused_without_a_traceback(
    client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.wav").write_bytes(b"%PDF-1.7")
    with pytest.raises(AppError) as caught:
        client.predict(handle_file(tmp_path / "letter.wav"), api_name="/transcribe")
    assert caught.value.message == f"letter.wav: {translate('refusal.unreadable')}"
    assert "Traceback" not in "".join(capfd.readouterr())


def test_uploads_are_deleted_and_examples_are_not(client: Client, tmp_path: Path, uploads: Path) -> None:
    upload = tmp_path / "mine.ogg"
    upload.write_bytes(CLIP.read_bytes() + b"\x00")
    client.predict(handle_file(upload), api_name="/transcribe")
    assert list(uploads.rglob("mine.ogg"))
    deadline = time.monotonic() + 20
    while list(uploads.rglob("mine.ogg")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not list(uploads.rglob("mine.ogg"))
    assert list(uploads.rglob(CLIP.name))


def test_a_missing_example_is_reported() -> None:
    with pytest.raises(EscoitaError) as caught:
        app.build(demo_of(settings=Space(examples=["clips/a.wav"])))
    assert (caught.value.key, caught.value.value) == ("space.examples", "clips/a.wav")


def test_a_port_in_use_is_reported(uploads: Path) -> None:
    demo = demo_of()
    page = app.build(demo)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(app.PortError) as caught:
            app.start(page, demo, port)
    assert (caught.value.key, caught.value.value) == ("--port", port)


def served(home: Path, port: int, model: str) -> "subprocess.Popen[str]":
    (home / "escoita.json").write_text('{"language": "uz", "prompt": {"user": "Transcribe."}, "schema_version": 1}')
    command = [sys.executable, "-c", SERVE, str(port), model, str(home)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(home), "TMPDIR": str(home)}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_its_address_and_stops_at_a_signal(tmp_path: Path, ending: signal.Signals) -> None:
    port = free_port()
    with served(tmp_path, port, "whole") as process:
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


@pytest.mark.slow
def test_serve_exits_with_one_line_if_the_model_cannot_be_loaded(tmp_path: Path) -> None:
    with served(tmp_path, free_port(), "broken") as process:
        output, errors = process.communicate(timeout=60)
    assert output.startswith("Listening on") and process.returncode == 1
    assert errors == f"escoita: {EscoitaError('not found', path='acme/base')}\n"


def test_the_page_answers_while_the_model_loads(uploads: Path, stub: Stub) -> None:
    loading = Loading(lambda: stub)
    demo = demo_of(ready=loading.ready, loading=loading.loading)
    page = app.build(demo)
    client = Client(app.start(page, demo), verbose=False)
    job = client.submit(handle_file(CLIP), api_name="/transcribe")
    with pytest.raises(TimeoutError):
        job.result(timeout=0.5)
    loading.start()
    assert job.result(timeout=60) == "salom <b>dunyo</b>"
    client.close()
    page.close(verbose=False)


def test_building_a_page_needs_no_model_library() -> None:
    code = "import sys\nfrom escoita.space.app import build\n"
    code += "from tests.space.pages import demo_of\nbuild(demo_of())\n"
    code += "print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_needs_no_model_library() -> None:
    code = "import atexit, runpy, sys\n"
    code += "heavy = ('torch', 'transformers', 'peft', 'gradio')\n"
    code += "atexit.register(lambda: print([name for name in heavy if name in sys.modules]))\n"
    code += "sys.argv = ['space/app.py', '--help']\nrunpy.run_path('space/app.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--adapter" in done.stdout and done.stdout.endswith("[]\n")
