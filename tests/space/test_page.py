"""The page in a browser, as visitors use it, with a real model behind it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from escoita.recipe import Space
from escoita.records import AdapterRecord, Prompt
from escoita.transcribe import Transcriber
from space.app import build, start
from tests.space.stub import CLIP, ROOT


CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BASE = str(ROOT / "quickstart/gemma4")
SETTINGS = AdapterRecord(language="uz", prompt=Prompt(user="Transcribe."), max_new_tokens=24)


@pytest.fixture(scope="module")
def transcriber() -> Transcriber:
    return Transcriber.load(BASE, settings=SETTINGS)


@pytest.fixture
def address(transcriber: Transcriber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    settings = Space(examples=[str(CLIP)])
    page = build(transcriber, settings, "Uzbek speech", BASE)
    yield start(page, settings)
    page.close(verbose=False)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_a_visitor_reads_a_transcript_and_a_message(address: str, transcriber: Transcriber, tmp_path: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    expected = transcriber.transcribe_file(CLIP).text
    broken = tmp_path / "letter & co.wav"
    broken.write_bytes(b"%PDF-1.7 Dear Sir")
    hosts: set[str | None] = set()
    complaints: list[str] = []
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser:
        page = browser.new_page()
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda entry: complaints.append(entry.text) if entry.type == "error" else None)
        page.goto(address)
        button = page.get_by_role("button", name="Transcribe", exact=True)
        transcript, status = page.get_by_role("textbox", name="The transcript appears here."), page.locator("#status")
        message = page.get_by_test_id("toast-text")
        expect(page.get_by_role("heading", name="Uzbek speech")).to_be_visible(timeout=30_000)

        box, width = page.locator("main").bounding_box(), page.evaluate("innerWidth")
        assert box is not None and box["x"] == pytest.approx(width - box["x"] - box["width"], abs=20)

        button.click()
        expect(message).to_have_text("Nothing to transcribe yet: record something, or choose a file.")

        page.get_by_label("Upload file").click()
        page.locator("#recording input[type=file]").set_input_files(CLIP)
        expect(page.locator("#recording").get_by_label("Clear")).to_be_visible()
        button.click()
        expect(status).to_contain_text("0.8 s of audio, transcribed in", timeout=30_000)
        expect(transcript).to_have_value(expected)
        expect(message).to_have_count(0)

        page.locator("#recording").get_by_label("Clear").click()
        expect(transcript).to_have_value("")
        assert complaints == []
        page.locator("#recording input[type=file]").set_input_files(broken)
        expect(page.locator("#recording").get_by_label("Clear")).to_be_visible()
        button.click()
        expect(message).to_contain_text("letter & co.wav: not a recording that can be read")

        page.get_by_role("button", name=CLIP.name).click()
        expect(transcript).to_have_value(expected, timeout=30_000)
    assert hosts <= {"127.0.0.1", None}
    # Gradio's player on the broken file.
    assert all(complaint.startswith("Waveform load error") for complaint in complaints)
