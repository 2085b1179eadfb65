"""The page on a phone, without a mouse, in the dark, and in the languages it speaks."""

from collections.abc import Iterator

import pytest

from escoita.recipe.schema import Space
from escoita.space.texts import say
from tests.space.browsing import Visit, in_chromium, served, upload
from tests.space.colors import contrast
from tests.space.stub import CLIP, Stub
from tests.space.pages import about_what


pytestmark = in_chromium
TABS = {"en": ["Transcribe", "Compare", "About"], "gl": ["Transcribir", "Comparar", "Sobre o modelo"]}
# What is read, with what stands behind it: the first that is not clear, upwards.
COLOURS = """() => {
    const hex = (text) => {
        const [red, green, blue, clear = 1] = text.match(/[\\d.]+/g).map(Number);
        const two = (value) => Math.round(value).toString(16).padStart(2, "0");
        return clear === 0 ? null : "#" + two(red) + two(green) + two(blue);
    };
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const colour = hex(getComputedStyle(node).backgroundColor);
            if (colour) return colour;
        }
        return "#ffffff";
    };
    const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
        if (!text || !node.checkVisibility() || !node.getClientRects().length || node.closest("svg, style")) continue;
        found.push([text, hex(getComputedStyle(node).color), behind(node)]);
    }
    return found;
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        settings = Space(examples=[str(CLIP)])
        with served(about_what(settings=settings, ready=lambda: Stub("salom dunyo"))) as address:
            yield address


@pytest.mark.parametrize("locale", ["en-GB", "gl-ES", "uz-UZ"])
def test_nothing_is_wider_than_a_phone(visit: Visit, locale: str) -> None:
    page = visit(viewport={"width": 390, "height": 844}, locale=locale, has_touch=True)
    upload(page, CLIP)
    page.locator("#transcribe").click()
    page.locator("#waveform svg").wait_for()
    tabs = page.get_by_role("tab")
    assert tabs.count() == 3
    for number in range(3):
        tabs.nth(number).tap()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"tab {number}"
        box = tabs.nth(number).bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["height"] >= 24


@pytest.mark.parametrize(
    "locale, tabs, lead",
    [
        ("en-GB", TABS["en"], "Record a clip or choose a file"),
        ("gl-ES", TABS["gl"], "Grava un clip"),
        ("uz-UZ", ["Matnga aylantirish", "Taqqoslash", "Model haqida"], "Ovoz yozing"),
        ("fr-FR", TABS["en"], "Record a clip or choose a file"),
    ],
)
def test_the_page_speaks_the_language_of_the_browser(visit: Visit, locale: str, tabs: list[str], lead: str) -> None:
    page = visit(locale=locale)
    page.locator("#lead").get_by_text(lead).wait_for()
    assert page.get_by_role("tab").all_inner_texts() == tabs
    shown = "node => JSON.parse(getComputedStyle(node, '::after').content)"
    sources = [each.evaluate(shown) for each in page.locator("#recording [data-testid=source-select] button").all()]
    language = locale[:2] if locale[:2] != "fr" else "en"
    assert sources == [say("recording.upload", language), say("recording.microphone", language)]


def test_all_of_it_can_be_done_without_a_mouse(visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        element = page.evaluate_handle("document.activeElement")
        reached.append(element.evaluate("node => node.innerText || node.ariaLabel || node.title || node.type || ''"))
        if reached[-1].strip() == CLIP.name:
            break
    assert {"Transcribe", "Stop"} <= {each.strip() for each in reached}
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="The transcript appears here.")).to_have_value("salom dunyo")
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.innerText.trim()") == "Compare":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")


def test_every_control_has_a_name(visit: Visit) -> None:
    page = visit()
    for tab in TABS["en"]:
        page.get_by_role("tab", name=tab).click()
        nameless = [line for line in page.locator("main").aria_snapshot().splitlines() if line.strip() in NAMELESS]
        assert nameless == [], tab


NAMELESS = {"- button", "- textbox", "- checkbox", "- combobox", "- link", "- tab"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    upload(page, CLIP)
    page.locator("#transcribe").click()
    page.locator("#waveform svg").wait_for()
    for tab in TABS["en"]:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)  # colours fade
        found = page.evaluate(COLOURS)
        assert len(found) > 10
        faint = {text: (ours, theirs) for text, ours, theirs in found if contrast(ours, theirs) < 4.5}
        assert faint == {}, tab
