"""The box for corrections in a browser; what becomes of them is in test_corrections.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from escoita.errors import EscoitaError
from escoita.recipe.schema import Space
from escoita.records.transcript import Transcript
from escoita.space.demo import Demo
from escoita.space.handlers import Transcribed
from escoita.space.tabs.feedback import feedback_box
from escoita.space.texts import say
from tests.space.browsing import CHROMIUM, FLAGS
from tests.space.stub import CLIP
from tests.space.pages import about_what, opened


class Kept:
    """Notes what is kept, of those who consent."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def keep(self, recording: str | None, text: str, consent: bool) -> None:
        if consent is not True:
            raise EscoitaError(say("refusal.consent"))
        assert recording and Path(recording).is_file()
        self.texts.append(text)


def transcribed(recording: str) -> tuple[str, Transcribed]:
    return "salem dunya", Transcribed(recording, Transcript("salem dunya", 0.8, 0.1, 2, False, ()))


def lay_out(demo: Demo, say: Callable[..., Any]) -> None:
    """A recording and its transcript, as the page has them."""
    recording = gr.Audio(sources=["upload"], type="filepath", elem_id="recording")
    transcript = gr.Textbox(label="Transcript", interactive=False)
    done = gr.State()
    feedback_box(demo, say, recording, transcript, done)
    recording.upload(transcribed, recording, [transcript, done])


def test_there_is_no_box_unless_a_dataset_is_named() -> None:
    with gr.Blocks() as page:
        feedback_box(about_what(), lambda key, **values: key, gr.Audio(), gr.Textbox(), gr.State())
    assert len(page.blocks) == 4 and not page.fns


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_only_with_consent_is_a_correction_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from playwright.sync_api import expect, sync_playwright

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    kept = Kept()
    demo = about_what(settings=Space(feedback="ana/corrections"), corrections=kept)
    with (
        opened(demo, lay_out) as address,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser,
    ):
        page = browser.new_page(locale="gl", viewport={"width": 390, "height": 800})
        page.goto(address)
        text = page.get_by_label("Corrección", exact=True)
        consent = page.get_by_role("checkbox")
        send = page.get_by_role("button", name="Enviar a corrección")
        expect(consent).not_to_be_checked(timeout=30_000)
        expect(page.locator("#consent")).to_contain_text("ana/corrections")
        expect(page.locator("#consent")).to_contain_text("é privado")
        page.locator("#recording input[type=file]").set_input_files(CLIP)
        expect(text).to_have_value("salem dunya")
        text.fill("salom dunyo")
        send.click()
        expect(page.get_by_test_id("toast-text")).to_contain_text("Non se gardou nada")
        assert kept.texts == []
        consent.focus()
        page.keyboard.press("Space")
        expect(page.get_by_test_id("toast-text")).to_have_count(0)
        send.click()
        expect(page.get_by_role("status").filter(has_text="Grazas")).to_be_visible()
        expect(consent).not_to_be_checked()
        assert kept.texts == ["salom dunyo"]
        consent.check()
        send.click()
        expect(page.get_by_test_id("toast-text")).to_contain_text("Xa corrixiches")
        assert kept.texts == ["salom dunyo"]
        page.locator("#recording").get_by_label("Clear").click()
        expect(consent).not_to_be_checked()
        expect(text).to_have_value("")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
