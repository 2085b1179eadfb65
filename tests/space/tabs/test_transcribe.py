"""Test the tab Transcribe in a browser, with a real model."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile

from escoita.inference.serving import Engine
from escoita.inference.streaming import Listener
from escoita.recipe.schema import Space
from escoita.space.client_limits import MEGABYTE
from escoita.space.demo import Demo, Loading
from escoita.space.texts import translate
from tests.space.browsing import Visit, in_chromium, served, upload
from tests.space.pages import demo_of
from tests.space.stub import CLIP, ROOT, Stub


if TYPE_CHECKING:
    from playwright.sync_api import Browser

BASE = str(ROOT / "quickstart/gemma4")
TITLE = "Uzbek speech"

pytestmark = in_chromium


@pytest.fixture(scope="module")
def engine(quickstart_run: Path) -> Iterator[Engine]:
    with Engine.load(BASE, {"uzbek": str(quickstart_run / "adapter")}) as engine:
        yield engine


@pytest.fixture(scope="module")
def address(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        settings = Space(examples=[str(CLIP)], max_minutes=1)
        adapters = dict(engine.adapters.sources)
        demo = Demo(TITLE, BASE, None, "auto", adapters, settings, None, "uz", lambda: engine, lambda: False)
        with served(demo) as address:
            yield address


# Collects all texts of the transcript and of the status; single reads could miss some.
WATCH = """() => {
    window.transcripts = new Set(), window.statuses = new Set();
    setInterval(() => {
        transcripts.add(document.querySelector("#transcript textarea").value);
        statuses.add(document.querySelector("#status").innerText.trim());
    }, 20);
}"""


def text_of(engine: Engine, recording: Path) -> str:
    *_, last = engine.stream(recording, "uzbek")
    return last.text


def test_a_visitor_transcribes_and_reads_messages(visit: Visit, engine: Engine, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    expected = text_of(engine, CLIP)
    broken = tmp_path / "letter & co.wav"
    broken.write_bytes(b"%PDF-1.7 Dear Sir")
    hosts: set[str | None] = set()
    page = visit()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    page.reload()
    button = page.get_by_role("button", name="Transcribe", exact=True)
    transcript, status = page.get_by_role("textbox", name="The transcript appears here."), page.locator("#status")
    message = page.locator("#status .error")
    expect(page.get_by_role("heading", name=TITLE)).to_be_visible(timeout=30_000)

    box, width = page.locator("main").bounding_box(), page.evaluate("innerWidth")
    assert box is not None and box["x"] == pytest.approx(width - box["x"] - box["width"], abs=20)

    button.click()
    expect(message).to_have_text(translate("refusal.no_recording"))

    upload(page, CLIP)
    button.click()
    expect(status).to_contain_text("0.8 s of audio, transcribed in", timeout=30_000)
    expect(status).to_contain_text("RTFx")
    expect(transcript).to_have_value(expected)
    expect(message).to_have_count(0)

    page.locator("#recording").get_by_label("Clear").click()
    expect(transcript).to_have_value("")
    page.locator("#recording input[type=file]").set_input_files(broken)
    expect(page.locator("#recording").get_by_label("Clear")).to_be_visible()
    button.click()
    expect(message).to_have_text(f"letter & co.wav: {translate('refusal.unreadable')}")

    page.get_by_role("button", name=CLIP.name).first.click()
    expect(transcript).to_have_value(expected, timeout=30_000)
    assert hosts <= {"127.0.0.1", None}


def test_a_long_recording_has_segments_with_times_and_downloads(visit: Visit, engine: Engine, recording: Path) -> None:
    from playwright.sync_api import expect

    page, expected = visit(), text_of(engine, recording)
    upload(page, recording)
    page.locator("#transcribe").click()
    expect(page.locator("#status")).to_contain_text("40.0 s of audio", timeout=60_000)
    rows = page.locator("#segments li")
    assert rows.count() >= 2
    expect(rows.first).to_contain_text("0:00")
    expect(page.locator("#drawing svg")).to_be_visible()
    expect(page.locator("#downloads a")).to_have_count(4)
    found = {
        link.get_attribute("download") or "": page.request.get(link.get_attribute("href") or "").text()
        for link in page.locator("#downloads a").all()
    }
    assert sorted(found) == ["long.json", "long.srt", "long.txt", "long.vtt"]
    assert " ".join(found["long.txt"].split()) == " ".join(expected.split())
    assert found["long.vtt"].startswith("WEBVTT") and found["long.srt"].count(" --> ") > 2


def test_a_recording_of_the_microphone_is_transcribed(visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit()
    recorder, error = page.locator("#recording"), page.locator("#status .error")
    page.locator("#transcribe").click()
    expect(error).to_be_visible()
    recorder.get_by_label("Record audio").click()
    recorder.get_by_role("button", name="Record", exact=True).click()
    recorder.get_by_text("0:03").wait_for()
    recorder.get_by_role("button", name="Stop", exact=True).click()
    expect(error).to_have_count(0)  # the page has the recording, and has forgotten the previous attempt
    page.locator("#transcribe").click()
    expect(page.locator("#status")).to_contain_text("s of audio, transcribed in", timeout=30_000)
    assert page.get_by_role("textbox", name="The transcript appears here.").input_value().strip()


def test_limits_are_reported_and_transcripts_can_be_copied(visit: Visit, engine: Engine, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    page = visit(permissions=["clipboard-read", "clipboard-write"])
    message = page.locator("#status .error")
    long, large = tmp_path / "long.flac", tmp_path / "large.wav"
    soundfile.write(long, np.zeros(70 * 16_000, np.float32), 16_000)
    large.write_bytes(b"x" * 11 * MEGABYTE)
    upload(page, long)
    page.locator("#transcribe").click()
    expect(message).to_have_text(f"long.flac: {translate('refusal.minutes', time='60 seconds')}")
    page.locator("#recording").get_by_label("Clear").click()
    page.locator("#recording input[type=file]").set_input_files(large)
    too_large = f"large.wav: {translate('refusal.megabytes', size='11.0', limit='10')}"
    expect(page.locator(".recording-problem").first).to_have_text(too_large)
    page.locator("#recording input[type=file]").set_input_files(CLIP)
    page.locator("#recording .component-wrapper").wait_for()
    page.locator("#transcribe").click()
    expect(page.locator("#status")).to_contain_text("0.8 s of audio")
    page.locator("#transcript").get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == text_of(engine, CLIP)


def test_text_is_streamed_and_can_be_stopped(
    browser: "Browser", visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playwright.sync_api import expect

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with served(demo_of(ready=lambda: Stub("bir ikki uch", delay=1.0))) as address:
        page = visit(address)
        transcript = page.get_by_role("textbox", name="The transcript appears here.")
        upload(page, CLIP)
        page.evaluate(WATCH)
        page.locator("#transcribe").click()
        expect(transcript).to_have_value("bir ikki uch")
        assert page.evaluate("[...transcripts]")[-3:] == ["bir", "bir ikki", "bir ikki uch"]
        assert translate("status.transcribing") in page.evaluate("[...statuses]")
        page.locator("#transcribe").click()
        page.wait_for_function("document.querySelector('#transcript textarea').value === 'bir'")
        page.locator("#stop").click()
        expect(page.locator("#status")).to_have_text(translate("status.stopped"))
        page.wait_for_timeout(4_000)
        expect(transcript).not_to_have_value("bir ikki uch")


def test_the_page_shows_that_the_model_is_loading(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playwright.sync_api import expect

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    loading = Loading(Stub)
    with served(demo_of(ready=loading.ready, loading=loading.loading)) as address:
        page = visit(address, locale="uz-UZ")
        notice = page.locator("#notice")
        expect(notice).to_have_text(translate("status.loading", "uz"))
        loading.start()
        expect(notice).to_have_text(translate("status.ready", "uz"))


def fail_to_load() -> Listener:
    raise KeyError("/srv/secret")


def test_the_page_shows_that_the_model_could_not_be_loaded(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playwright.sync_api import expect

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    loading = Loading(fail_to_load)
    with served(demo_of(ready=loading.ready, loading=loading.loading)) as address:
        page = visit(address)
        expect(page.locator("#notice")).to_have_text(translate("status.loading"))
        loading.start()
        expect(page.locator("#notice")).to_have_text(translate("refusal.not_loaded"))
