"""Test that a session can correct only a recording that it has transcribed, and only once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from escoita.recipe.schema import Space
from escoita.records.transcript import Transcript
from escoita.space.handlers import Transcribed, require_transcribed
from escoita.space.refusals import Refusal
from escoita.space.texts import translate
from tests.space.browsing import Visit, in_chromium, served, upload
from tests.space.pages import demo_of
from tests.space.stub import CLIP, Stub


class FakeCorrections:
    """Store the texts of corrections."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def keep(self, recording: str | None, text: str, consent: bool) -> None:
        assert consent and recording
        self.texts.append(text)


@pytest.fixture
def corrections() -> FakeCorrections:
    return FakeCorrections()


@pytest.fixture
def address(corrections: FakeCorrections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    settings = Space(feedback="ana/corrections", examples=[str(CLIP)])
    with served(demo_of(ready=lambda: Stub("salem dunya"), settings=settings, corrections=corrections)) as address:
        yield address


class Session:
    """
    Call the events of the page like a browser.

    Args:
        address (`str`): The URL of the page.
        name (`str`): The name of the session.
    """

    def __init__(self, address: str, name: str):
        self.http, self.name = httpx.Client(base_url=address, timeout=60), name
        self.events = {each["api_name"]: each["id"] for each in self.http.get("config").json()["dependencies"]}

    def upload(self, name: str) -> dict[str, Any]:
        answer = self.http.post("gradio_api/upload", files={"files": (name, CLIP.read_bytes())})
        return {"path": answer.raise_for_status().json()[0], "meta": {"_type": "gradio.FileData"}}

    def call(self, event: str, *data: object) -> dict[str, Any]:
        request = {"data": data, "fn_index": self.events[event], "session_hash": self.name}
        self.http.post("gradio_api/queue/join", json=request).raise_for_status()
        with self.http.stream("GET", f"gradio_api/queue/data?session_hash={self.name}") as answer:
            for line in answer.iter_lines():
                message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                if message.get("msg") == "process_completed":
                    return dict(message)
        raise AssertionError("no answer")


def shown(answer: dict[str, Any]) -> str:
    """Return the message below the form."""
    return str(answer["output"]["data"][0])


def test_a_correction_needs_a_transcription_of_the_same_session(address: str, corrections: FakeCorrections) -> None:
    ours, other = Session(address, "ours"), Session(address, "other")
    recording, second = ours.upload("a.ogg"), ours.upload("b.ogg")
    correction = [recording, "salom", True, None]
    assert translate("refusal.not_transcribed") in shown(ours.call("send", *correction))
    assert ours.call("transcribe_1", recording, "uzbek")["success"]
    assert translate("refusal.not_transcribed") in shown(other.call("send", *correction))
    assert translate("refusal.not_transcribed") in shown(ours.call("send", second, "salom", True, None))
    assert corrections.texts == []
    assert translate("feedback.thanks") in shown(ours.call("send", *correction))
    assert corrections.texts == ["salom"]
    assert translate("refusal.corrected") in shown(ours.call("send", *correction))
    assert corrections.texts == ["salom"]


def test_require_transcribed() -> None:
    done = Transcribed("a.wav", Transcript("salom", 1.0, 0.1, 1, False, ()))
    assert require_transcribed(done, "a.wav") is done
    for transcribed, recording in ((None, "a.wav"), (done, "b.wav"), (done, None)):
        with pytest.raises(Refusal) as caught:
            require_transcribed(transcribed, recording)
        assert caught.value.text_key == "not_transcribed"
    done.corrected = True
    with pytest.raises(Refusal) as caught:
        require_transcribed(done, "a.wav")
    assert caught.value.text_key == "corrected"


@pytest.mark.slow
@pytest.mark.parametrize("example", [False, True], ids=["upload", "example"])
@pytest.mark.browser
@in_chromium[1]
def test_a_visitor_transcribes_and_corrects(visit: Visit, corrections: FakeCorrections, example: bool) -> None:
    from playwright.sync_api import expect

    page = visit()
    if example:
        page.locator(".gallery-item, .gallery button, [aria-label*=xample] td").first.click()
    else:
        upload(page, CLIP)
        page.locator("#transcribe").click()
    expect(page.locator("#transcript textarea")).to_have_value("salem dunya")
    page.locator("#downloads a").first.wait_for()
    page.locator("#drawing svg").wait_for()
    page.locator("#correction textarea").fill("salom dunyo")
    page.locator("#consent input").check()
    page.locator("#send-correction").click()
    expect(page.locator("#thanks")).to_contain_text(translate("feedback.thanks"))
    assert corrections.texts == ["salom dunyo"]
