"""Test the form for corrections in a browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from escoita.recipe.schema import Space
from escoita.records.transcript import Transcript
from escoita.space.demo import Demo
from escoita.space.handlers import Transcribed
from escoita.space.refusals import Refusal
from escoita.space.tabs.feedback import feedback_box
from escoita.space.texts import translate
from tests.space.browsing import CHROMIUM, FLAGS
from tests.space.pages import demo_of, opened
from tests.space.stub import CLIP


class FakeCorrections:
    """Store the texts of corrections with consent."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def keep(self, recording: str | None, text: str, consent: bool) -> None:
        if consent is not True:
            raise Refusal("consent")
        assert recording and Path(recording).is_file()
        self.texts.append(text)


def transcribed(recording: str) -> tuple[str, Transcribed]:
    return "salem dunya", Transcribed(recording, Transcript("salem dunya", 0.8, 0.1, 2, False, ()))


def build_form(demo: Demo, label: Callable[..., Any]) -> None:
    """Build a recording, its transcript and the form."""
    recording = gr.Audio(sources=["upload"], type="filepath", elem_id="recording")
    transcript = gr.Textbox(label="Transcript", interactive=False)
    done = gr.State()
    feedback_box(demo, label, recording, transcript, done)
    recording.upload(transcribed, recording, [transcript, done])


def test_without_a_dataset_there_is_no_form() -> None:
    with gr.Blocks() as page:
        feedback_box(demo_of(), lambda key, **values: key, gr.Audio(), gr.Textbox(), gr.State())
    assert len(page.blocks) == 4 and not page.fns


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_a_correction_is_only_stored_with_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from playwright.sync_api import expect, sync_playwright

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    corrections = FakeCorrections()
    demo = demo_of(settings=Space(feedback="ana/corrections"), corrections=corrections)
    with (
        opened(demo, build_form) as address,
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
        expect(page.locator("#consent")).to_contain_text(translate("feedback.private", "gl"))
        page.locator("#recording input[type=file]").set_input_files(CLIP)
        expect(text).to_have_value("salem dunya")
        text.fill("salom dunyo")
        send.click()
        expect(page.locator("#thanks .error")).to_contain_text(translate("refusal.consent", "gl"))
        assert corrections.texts == []
        consent.focus()
        page.keyboard.press("Space")
        expect(page.locator("#thanks .error")).to_have_count(0)
        send.click()
        expect(page.get_by_role("status").filter(has_text=translate("feedback.thanks", "gl"))).to_be_visible()
        expect(consent).not_to_be_checked()
        assert corrections.texts == ["salom dunyo"]
        consent.check()
        send.click()
        expect(page.locator("#thanks .error")).to_contain_text(translate("refusal.corrected", "gl"))
        assert corrections.texts == ["salom dunyo"]
        page.locator("#recording").get_by_label(translate("common.clear", "gl")).click()
        expect(consent).not_to_be_checked()
        expect(text).to_have_value("")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
