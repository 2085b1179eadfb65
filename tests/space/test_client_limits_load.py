"""Test the page under load: a flood by one client, many visitors at one address, and many decompression bombs."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from escoita.inference.fairness import MAX_WAITING
from escoita.inference.serving import Engine
from escoita.recipe.schema import Space
from escoita.space import app
from escoita.space.client_limits import MAX_UPLOADS, Clients
from escoita.space.texts import translate
from tests.length_model import Gate, LengthModel, length_transcriber
from tests.samples import melody
from tests.space.pages import demo_of


pytestmark = pytest.mark.slow


Open = Callable[..., str]
FLOOD, HONEST = 14_400, 12_000


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.release()


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open a page with a model whose transcript is the length of the clip."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    pages: list[Any] = []

    def open_page(model: LengthModel, proxy_hops: int = 0) -> str:
        settings = Space()
        engine = Engine(length_transcriber(model), {}, {}, settings.max_queue, settings.max_minutes * 60)
        demo = demo_of(adapters={"": ""}, ready=lambda: engine, settings=settings, clients=Clients(proxy_hops))
        page = app.build(demo)
        pages.append((page, engine))
        return app.start(page, demo)

    yield open_page
    for page, engine in pages:
        page.close(verbose=False)
        engine.close()


def clip(samples: int) -> bytes:
    buffer = BytesIO()
    soundfile.write(buffer, melody(samples / 16_000), 16_000, format="WAV")
    return buffer.getvalue()


class Visitor:
    """
    Send requests over plain HTTP.

    Args:
        address (`str`): The URL of the page.
        forwarded (`str`, *optional*): The header X-Forwarded-For of a proxy.
        session (`bool`, *optional*, defaults to `True`): Whether the client opens the page to get a session.
    """

    def __init__(self, address: str, forwarded: str | None = None, session: bool = True):
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        self.http = httpx.Client(base_url=f"{address}gradio_api/", headers=headers, timeout=60)
        if session:
            self.http.get(f"{address}config").raise_for_status()

    def upload(self, content: bytes) -> str:
        answer = self.http.post("upload", files={"files": ("clip.wav", content)})
        return str(answer.raise_for_status().json()[0])

    def call(self, path: str) -> str:
        return str(self.http.post("call/transcribe", json=self._data(path)).raise_for_status().json()["event_id"])

    def flood(self, path: str) -> str | None:
        """Return the event of a call, or `None` if the call was refused."""
        answer = self.http.post("call/transcribe", json=self._data(path))
        return None if answer.status_code == 429 else str(answer.raise_for_status().json()["event_id"])

    def answer(self, event: str) -> str:
        return self.http.get(f"call/transcribe/{event}").raise_for_status().text

    def _data(self, path: str) -> dict[str, Any]:
        return {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, ""]}

    def transcribe(self, content: bytes) -> str:
        return self.answer(self.call(self.upload(content)))


@pytest.mark.parametrize(
    ("flood", "honest", "hops"),
    [
        ({"session": False}, {}, 0),
        ({}, {}, 0),
        ({"forwarded": "1.1.1.1", "session": False}, {"forwarded": "1.1.1.1"}, 1),
        ({"forwarded": "1.1.1.1", "session": False}, {"forwarded": "2.2.2.2", "session": False}, 1),
    ],
    ids=["without a session", "of one session", "behind a proxy", "of another address"],
)
def test_200_calls_of_one_client_delay_another_one_by_at_most_two_of_them(
    opened: Open, gate: Gate, flood: dict[str, Any], honest: dict[str, Any], hops: int
) -> None:
    model = LengthModel(before_letter=gate)
    address = opened(model, hops)
    attacker, visitor = Visitor(address, **flood), Visitor(address, **honest)
    path = attacker.upload(clip(FLOOD))
    first = attacker.call(path)
    gate.wait()
    with ThreadPoolExecutor(20) as threads:
        events = [event for event in threads.map(lambda _: attacker.flood(path), range(199)) if event]
        own = visitor.call(visitor.upload(clip(HONEST)))
        answer = threads.submit(visitor.answer, own)
        answers = threads.submit(lambda: [attacker.answer(event) for event in events])
        time.sleep(1)  # until the request is in the queue
        gate.release()
        assert str(HONEST) in answer.result(60)
        counted = Counter("event: error" in each for each in answers.result(120))
    assert "event: complete" in attacker.answer(first)
    assert counted[False] == MAX_WAITING and counted[True] > 50
    before = [length for batch in model.batches for length in batch]
    assert before[: before.index(HONEST)].count(FLOOD) <= 1 + MAX_WAITING


def test_50_visitors_at_one_address_are_served(opened: Open, gate: Gate) -> None:
    address = opened(LengthModel(before_letter=gate), 1)

    def ask(number: int) -> tuple[Visitor, str]:
        visitor = Visitor(address, "1.1.1.1")
        return visitor, visitor.call(visitor.upload(clip(8_000 + number)))

    with ThreadPoolExecutor(50) as threads:
        requests = list(threads.map(ask, range(50)))
        time.sleep(1)  # until all of them wait
        gate.release()
        answers = list(threads.map(lambda each: each[0].answer(each[1]), requests))
    assert [str(8_000 + number) in answer for number, answer in enumerate(answers)] == [True] * 50


def test_a_client_with_a_new_session_for_each_call_does_not_block_other_addresses(opened: Open, gate: Gate) -> None:
    model = LengthModel(before_letter=gate)
    address = opened(model, 1)
    path = Visitor(address, "1.1.1.1").upload(clip(FLOOD))
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda _: Visitor(address, "1.1.1.1").flood(path), range(90)))
        visitor = Visitor(address, "2.2.2.2")
        own = visitor.call(visitor.upload(clip(HONEST)))
        answer = threads.submit(visitor.answer, own)
        time.sleep(1)
        gate.release()
        assert str(HONEST) in answer.result(60)
    assert HONEST in [*model.batches[0], *model.batches[1]]


def test_a_client_with_a_forged_address_for_each_call_is_one_client(opened: Open) -> None:
    address = opened(LengthModel())
    statuses = []
    for number in range(MAX_UPLOADS + 1):
        visitor = Visitor(address, f"1.1.1.{number}", session=False)
        statuses.append(visitor.http.post("upload", files={"files": ("clip.wav", clip(800))}).status_code)
    assert statuses == [200] * MAX_UPLOADS + [429]


@pytest.mark.slow
def test_eight_decompression_bombs_take_no_memory(opened: Open) -> None:
    rate = 655_350
    buffer = BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, 8, format="FLAC") as file:
        for _ in range(29):
            file.write(np.zeros((rate, 8), np.int16))
    address = opened(LengthModel())
    memory, done = [_resident()], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            memory.append(_resident())

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: Visitor(address).transcribe(buffer.getvalue()), range(8)))
    done.set()
    watching.join()
    assert all("event: error" in answer and translate("refusal.samples") in answer for answer in answers)
    assert max(memory) - memory[0] < 150 * 2**20


def _resident() -> int:
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * 4096
