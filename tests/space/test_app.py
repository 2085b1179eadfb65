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
from escoita.recipe.schema import Space
from escoita.space import app
from escoita.space.demo import Loading
from escoita.space.theme import heading, lead, short_name
from tests.space.stub import CLIP, ROOT, Stub
from tests.space.pages import about_what


SERVE = """
import sys, time
from escoita.models.base_model import Base
from escoita.inference.serving import Engine
from escoita.errors import EscoitaError
from escoita.space import demo
from escoita.space.app import serve
from tests.space.stub import Stub
from tests.space.pages import about_what

def load(*arguments, **settings):
    if sys.argv[2] == "broken":
        raise EscoitaError("acme/base: no such base")
    return Stub()

Engine.load = load
demo.resolve_base = lambda base, *arguments, **settings: Base(base)
try:
    serve(about_what(adapters={"uzbek": sys.argv[3]}), int(sys.argv[1]))
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
    demo = about_what(adapters={"uzbek": str(tmp_path)}, settings=Space(examples=[str(CLIP)]), ready=lambda: stub)
    page = app.build(demo)
    client = Client(app.start(page, demo), verbose=False)
    yield client
    client.close()
    page.close(verbose=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_file_in_and_its_text_out(client: Client) -> None:
    assert client.predict(handle_file(CLIP), api_name="/transcribe") == "salom <b>dunyo</b>"
    endpoints = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    assert list(endpoints) == ["/transcribe", "/compare"]


def test_a_program_reads_text_before_its_end(client: Client) -> None:
    job = client.submit(handle_file(CLIP), api_name="/transcribe")
    assert job.result(timeout=60) == "salom <b>dunyo</b>"
    assert job.outputs() == ["salom", "salom <b>dunyo</b>"]


def test_a_bad_file_is_a_message_and_no_traceback(
    client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.wav").write_bytes(b"%PDF-1.7")
    with pytest.raises(AppError, match=r"^letter\.wav: not a recording that can be read"):
        client.predict(handle_file(tmp_path / "letter.wav"), api_name="/transcribe")
    assert "Traceback" not in "".join(capfd.readouterr())


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


def test_a_missing_example_is_named() -> None:
    with pytest.raises(EscoitaError, match=r"^space\.examples: clips/a\.wav: no such file$"):
        app.build(about_what(settings=Space(examples=["clips/a.wav"])))


def test_a_port_that_is_taken(uploads: Path) -> None:
    demo = about_what()
    page = app.build(demo)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EscoitaError, match=f"^port {port}: taken.*--port$"):
            app.start(page, demo, port)


def served(home: Path, port: int, model: str) -> "subprocess.Popen[str]":
    (home / "escoita.json").write_text('{"language": "uz", "prompt": {"user": "Transcribe."}, "schema_version": 1}')
    command = [sys.executable, "-c", SERVE, str(port), model, str(home)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(home), "TMPDIR": str(home)}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_its_address_and_ends_quietly(tmp_path: Path, ending: signal.Signals) -> None:
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
def test_a_model_that_cannot_be_loaded_ends_the_page_with_one_line(tmp_path: Path) -> None:
    with served(tmp_path, free_port(), "broken") as process:
        said, why = process.communicate(timeout=60)
    assert said.startswith("Listening on") and process.returncode == 1
    assert why == "escoita: acme/base: no such base\n"


def test_the_page_answers_while_the_model_loads(uploads: Path, stub: Stub) -> None:
    loading = Loading(lambda: stub)
    demo = about_what(ready=loading.ready, loading=loading.loading)
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
    code += "from tests.space.pages import about_what\nbuild(about_what())\n"
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


def test_names_are_escaped_and_short() -> None:
    assert heading("<i>Uzbek</i>") == "<h1>&lt;i&gt;Uzbek&lt;/i&gt;</h1>"
    told = lead("30 seconds", "20 minutes", "/srv/models/gemma <4>", ["runs/demo/adapter"])
    assert "Base model: models/gemma &lt;4&gt;. Adapter: demo/adapter" in told
    assert short_name("acme/base") == "acme/base"
    assert short_name("acme/base@refs/pr/1") == "acme/base@refs/pr/1"


def test_another_base_is_named_on_the_page() -> None:
    words = ("30 seconds", "20 minutes", "acme/base", ["runs/demo/adapter"])
    assert "not the one that the adapter was trained on" in lead(*words, other_base=True)
    assert "not the one" not in lead(*words)
