"""Test bad input and concurrent requests on a page with a real model."""

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
from escoita.space.texts import translate
from tests.space.pages import demo_of
from tests.space.stub import CLIP, ROOT


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
        demo = demo_of(adapters=adapters, ready=lambda: engine, settings=Space(max_megabytes=4))
        page = app.build(demo)
        yield app.start(page, demo)
        page.close(verbose=False)


@pytest.fixture(scope="module")
def expected(engine: Engine) -> dict[Path, str]:
    """Return the transcript of each clip without other requests."""
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


# A name, a function that writes the file, and the key of the refusal if it is always the same.
BAD_FILES: dict[str, tuple[str, Callable[[Path], object], str | None]] = {
    "corrupt": ("corrupt.ogg", corrupt, None),
    "silence": ("quiet.wav", lambda path: silence(path, 16_000), "silence"),
    "three hours": ("hours.flac", lambda path: silence(path, 3 * 3600 * 8000, 8000), "minutes"),
    "a PDF": ("letter.wav", lambda path: path.write_bytes(b"%PDF-1.7\n1 0 obj\n"), "unreadable"),
    "one sample": ("one.wav", lambda path: soundfile.write(path, np.ones(1, np.float32), 16_000), "too_short"),
    "empty": ("empty.wav", lambda path: path.touch(), "empty"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_refused_and_the_next_request_succeeds(
    client: Client, expected: dict[Path, str], tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    name, write, key = BAD_FILES[kind]
    write(tmp_path / name)
    for endpoint in ("/transcribe", "/compare"):
        with pytest.raises(AppError) as caught:
            client.predict(handle_file(tmp_path / name), api_name=endpoint)
        message = str(caught.value)
        assert message.startswith(f"{name}: ") and "/" not in message and "Traceback" not in message
        if key is not None:
            assert message == f"{name}: {translate(f'refusal.{key}', time='30 seconds', seconds=0.05)}"
    assert "Traceback" not in "".join(capfd.readouterr())
    assert client.predict(handle_file(CLIPS[0]), api_name="/transcribe") == expected[CLIPS[0]]


def test_a_large_file_is_refused(client: Client, expected: dict[Path, str], tmp_path: Path) -> None:
    (tmp_path / "big.wav").write_bytes(b"x" * 5 * 2**20)
    with pytest.raises(Exception, match=r"413|exceed|too large|size") as caught:
        client.predict(handle_file(tmp_path / "big.wav"), api_name="/transcribe")
    assert "Traceback" not in str(caught.value)
    assert client.predict(handle_file(CLIPS[0]), api_name="/transcribe") == expected[CLIPS[0]]


@pytest.mark.parametrize("adapter", ["acme/other", "../../runs", "https://huggingface.co/acme/other"])
def test_an_adapter_that_is_not_listed_is_not_loaded(
    client: Client, engine: Engine, expected: dict[Path, str], adapter: str
) -> None:
    for endpoint, names in (("/transcribe", {"adapter": adapter}), ("/compare", {"second": adapter})):
        with pytest.raises((AppError, ValueError)) as caught:
            client.predict(handle_file(CLIPS[0]), api_name=endpoint, **names)
        assert "Traceback" not in str(caught.value) and str(ROOT) not in str(caught.value)
    assert list(engine.adapters.sources) == ["uzbek"]
    assert client.predict(handle_file(CLIPS[0]), api_name="/transcribe") == expected[CLIPS[0]]


def test_concurrent_requests_have_the_same_transcripts(address: str, expected: dict[Path, str]) -> None:
    def visit(clip: Path) -> str:
        client = Client(address, verbose=False)
        text = client.predict(handle_file(clip), api_name="/transcribe")
        client.close()
        return str(text)

    clips = [CLIPS[number % len(CLIPS)] for number in range(20)]
    with ThreadPoolExecutor(20) as threads:
        assert list(threads.map(visit, clips)) == [expected[clip] for clip in clips]


def test_an_interrupted_request_releases_its_place(
    address: str, client: Client, engine: Engine, expected: dict[Path, str]
) -> None:
    url = f"{address}gradio_api/"
    path = httpx.post(url + "upload", files={"files": ("a.ogg", CLIP.read_bytes())}, timeout=60).json()[0]
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "uzbek"]
    event = httpx.post(url + "call/transcribe", json={"data": data}, timeout=60).json()["event_id"]
    with httpx.stream("GET", f"{url}call/transcribe/{event}", timeout=60) as answer:
        assert next(answer.iter_lines()).startswith("event:")
    assert client.predict(handle_file(CLIPS[0]), api_name="/transcribe") == expected[CLIPS[0]]
    deadline = time.monotonic() + 20
    while engine._queued_requests() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not engine._queued_requests()
