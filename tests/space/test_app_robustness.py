"""What visitors send by mistake or on purpose, and many of them at once, to a page with a real model."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from escoita.inference.serving import Engine
from escoita.recipe.schema import Space
from escoita.space import app
from tests.space.stub import CLIP, ROOT
from tests.space.pages import about_what


CLIPS = sorted((ROOT / "quickstart/corpus/uz/test").glob("*.ogg"))[:5]


@pytest.fixture(scope="module")
def engine(quickstart_run: Path) -> Iterator[Engine]:
    with Engine.load("quickstart/gemma4", {"uzbek": str(quickstart_run / "adapter")}) as engine:
        yield engine


@pytest.fixture(scope="module")
def address(engine: Engine, quickstart_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        adapters = {"uzbek": str(quickstart_run / "adapter")}
        demo = about_what(adapters=adapters, ready=lambda: engine, settings=Space(max_megabytes=4))
        page = app.build(demo)
        yield app.start(page, demo)
        page.close(verbose=False)


@pytest.fixture(scope="module")
def alone(engine: Engine) -> dict[Path, str]:
    """What the model hears in each clip when nobody else asks."""
    return {clip: [*engine.stream(clip, "uzbek")][-1].text for clip in CLIPS}


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    client = Client(address, verbose=False)
    yield client
    client.close()


def silence(path: Path, samples: int, rate: int = 16_000) -> None:
    with soundfile.SoundFile(path, "w", rate, 1) as file:
        while samples > 0:
            file.write(np.zeros(min(samples, 2**20), np.int16))
            samples -= 2**20


def corrupt(path: Path) -> None:
    good = bytearray(CLIP.read_bytes())
    good[60:] = bytes(len(good) - 60)
    path.write_bytes(good)


MISTAKES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "corrupt": ("corrupt.ogg", corrupt, r"^corrupt\.ogg: "),
    "silence": ("quiet.wav", lambda path: silence(path, 16_000), r"^quiet\.wav: nothing can be heard in it$"),
    "three hours": (
        "hours.flac",
        lambda path: silence(path, 3 * 3600 * 8000, 8000),
        r"^hours\.flac: longer than the 30 seconds that this page takes$",
    ),
    "a PDF": ("letter.wav", lambda path: path.write_bytes(b"%PDF-1.7\n1 0 obj\n"), r"^letter\.wav: not a recording"),
    "one sample": ("one.wav", lambda path: soundfile.write(path, np.ones(1, np.float32), 16_000), r"^one\.wav: "),
    "empty": ("empty.wav", lambda path: path.touch(), r"^empty\.wav: the file is empty$"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_a_message_and_the_next_visitor_is_heard(
    client: Client, alone: dict[Path, str], tmp_path: Path, capfd: pytest.CaptureFixture[str], mistake: str
) -> None:
    name, write, message = MISTAKES[mistake]
    write(tmp_path / name)
    for endpoint in ("/transcribe", "/compare"):
        with pytest.raises(AppError, match=message) as caught:
            client.predict(handle_file(tmp_path / name), api_name=endpoint)
        assert "/" not in str(caught.value) and "Traceback" not in str(caught.value)
    assert "Traceback" not in "".join(capfd.readouterr())
    assert client.predict(handle_file(CLIPS[0]), api_name="/transcribe") == alone[CLIPS[0]]


def test_too_large_a_file_is_not_taken(client: Client, alone: dict[Path, str], tmp_path: Path) -> None:
    (tmp_path / "big.wav").write_bytes(b"x" * 5 * 2**20)
    with pytest.raises(Exception, match=r"413|exceed|too large|size") as caught:
        client.predict(handle_file(tmp_path / "big.wav"), api_name="/transcribe")
    assert "Traceback" not in str(caught.value)
    assert client.predict(handle_file(CLIPS[0]), api_name="/transcribe") == alone[CLIPS[0]]


@pytest.mark.parametrize("adapter", ["acme/other", "../../runs", "https://huggingface.co/acme/other"])
def test_no_adapter_that_is_not_on_the_list_is_loaded(
    client: Client, engine: Engine, alone: dict[Path, str], adapter: str
) -> None:
    for endpoint, names in (("/transcribe", {"adapter": adapter}), ("/compare", {"second": adapter})):
        with pytest.raises((AppError, ValueError)) as caught:
            client.predict(handle_file(CLIPS[0]), api_name=endpoint, **names)
        assert "Traceback" not in str(caught.value) and str(ROOT) not in str(caught.value)
    assert list(engine.adapters.sources) == ["uzbek"]
    assert client.predict(handle_file(CLIPS[0]), api_name="/transcribe") == alone[CLIPS[0]]


def test_twenty_at_once_hear_what_each_hears_alone(address: str, alone: dict[Path, str]) -> None:
    def visit(clip: Path) -> str:
        client = Client(address, verbose=False)
        text = client.predict(handle_file(clip), api_name="/transcribe")
        client.close()
        return str(text)

    clips = [CLIPS[number % len(CLIPS)] for number in range(20)]
    with ThreadPoolExecutor(20) as people:
        assert list(people.map(visit, clips)) == [alone[clip] for clip in clips]


def test_who_leaves_in_the_middle_keeps_nobody_waiting(
    address: str, client: Client, engine: Engine, alone: dict[Path, str]
) -> None:
    url = f"{address}gradio_api/"
    path = httpx.post(url + "upload", files={"files": ("a.ogg", CLIP.read_bytes())}, timeout=60).json()[0]
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "uzbek"]
    event = httpx.post(url + "call/transcribe", json={"data": data}, timeout=60).json()["event_id"]
    with httpx.stream("GET", f"{url}call/transcribe/{event}", timeout=60) as answer:
        assert next(answer.iter_lines()).startswith("event:")
    assert client.predict(handle_file(CLIPS[0]), api_name="/transcribe") == alone[CLIPS[0]]
    deadline = time.monotonic() + 20
    while engine._in_line() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not engine._in_line()
