"""Test all tabs of the page in a browser, with the run of the quick start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from escoita.inference.serving import Engine
from escoita.recipe.schema import Space
from escoita.records.evaluation import EvaluationRecord
from escoita.run_directory import RunDirectory
from escoita.space.app import build, start
from escoita.space.demo import Demo
from escoita.space.texts import translate
from escoita.utils.formatting import percent
from tests.space.browsing import CHROMIUM, FLAGS
from tests.space.stub import CLIP, ROOT


BASE = str(ROOT / "quickstart/gemma4")
REFERENCE = "chiroqni yoq"


@pytest.fixture
def address(quickstart_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    run = RunDirectory(quickstart_run)
    adapters = {"quickstart-uzbek": run.trained_adapter()}
    with Engine.load(BASE, adapters) as engine:
        settings = Space(examples=[str(CLIP)])
        demo = Demo("Uzbek", BASE, None, "auto", adapters, settings, run, "uz", lambda: engine, lambda: False)
        page = build(demo)
        yield start(page, demo)
        page.close(verbose=False)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_a_visitor_uses_all_tabs(address: str, quickstart_run: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    errors: list[str] = []
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser:
        page = browser.new_page(locale="en", viewport={"width": 390, "height": 800})
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.get_by_role("button", name=CLIP.name).first.click()
        expect(page.locator("#status")).to_contain_text("0.8 s of audio", timeout=30_000)

        page.get_by_role("tab", name="Compare").click()
        page.locator("#compare-recording").get_by_label("Upload file").click()
        page.locator("#compare-recording input[type=file]").set_input_files(CLIP)
        expect(page.locator("#compare-recording").get_by_label("Clear")).to_be_visible()
        page.get_by_label(translate("compare.reference_label")).fill(REFERENCE)
        page.locator("#compare").click()
        expect(page.locator("#comparison .rates")).to_have_count(2, timeout=30_000)
        expect(page.locator("#comparison")).to_contain_text(translate("differences.normalized", name="uzbek"))

        page.get_by_role("tab", name="About").click()
        rates = EvaluationRecord.read(quickstart_run / "eval/results.json").corpora[0].main_system.normalized
        expect(page.locator("#about table").first).to_contain_text(percent(rates.wer))
        expect(page.locator("#about img").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        galician = browser.new_page(locale="gl-ES")
        galician.goto(address)
        expect(galician.get_by_role("tab", name="Sobre o modelo")).to_be_visible(timeout=30_000)
        galician.get_by_role("tab", name="Sobre o modelo").click()
        expect(galician.locator("#about")).to_contain_text(translate("about.results", "gl"))
    assert errors == []
