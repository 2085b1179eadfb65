"""Test the page on a phone, without a mouse, in light and dark mode, and in each language."""

from collections.abc import Iterator

import pytest

from escoita.recipe.schema import Space
from escoita.space.client_limits import limits
from escoita.space.texts import translate
from tests.space.browsing import Visit, in_chromium, served, upload
from tests.space.colors import contrast
from tests.space.pages import demo_of
from tests.space.stub import CLIP, Stub


pytestmark = in_chromium
TABS = ["Transcribe", "Compare", "About"]
# Each text with its color and its background: the first background of its ancestors that is not transparent.
COLORS = """() => {
    const hex = (text) => {
        const [red, green, blue, clear = 1] = text.match(/[\\d.]+/g).map(Number);
        const two = (value) => Math.round(value).toString(16).padStart(2, "0");
        return clear === 0 ? null : "#" + two(red) + two(green) + two(blue);
    };
    const background = (node) => {
        for (; node; node = node.parentElement) {
            const color = hex(getComputedStyle(node).backgroundColor);
            if (color) return color;
        }
        return "#ffffff";
    };
    const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
        if (!text || !node.checkVisibility() || !node.getClientRects().length || node.closest("svg, style")) continue;
        found.push([text, hex(getComputedStyle(node).color), background(node)]);
    }
    return found;
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        settings = Space(examples=[str(CLIP)])
        with served(demo_of(settings=settings, ready=lambda: Stub("salom dunyo"))) as address:
            yield address


@pytest.mark.parametrize("locale", ["en-GB", "gl-ES", "uz-UZ"])
def test_the_page_fits_a_phone(visit: Visit, locale: str) -> None:
    page = visit(viewport={"width": 390, "height": 844}, locale=locale, has_touch=True)
    upload(page, CLIP)
    page.locator("#transcribe").click()
    page.locator("#drawing svg").wait_for()
    tabs = page.get_by_role("tab")
    assert tabs.count() == 3
    for number in range(3):
        tabs.nth(number).tap()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"tab {number}"
        box = tabs.nth(number).bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["height"] >= 24


@pytest.mark.parametrize("locale, language", [("en-GB", "en"), ("gl-ES", "gl"), ("uz-UZ", "uz"), ("fr-FR", "en")])
def test_the_page_is_in_the_language_of_the_browser(visit: Visit, locale: str, language: str) -> None:
    page = visit(locale=locale)
    lead = translate("page.lead", language, limits=limits(Space(), language))
    page.locator("#lead").get_by_text(lead).wait_for()
    tabs = [translate(f"tab.{tab}", language) for tab in ("transcribe", "compare", "about")]
    assert page.get_by_role("tab").all_inner_texts() == tabs
    label = "node => JSON.parse(getComputedStyle(node, '::after').content)"
    sources = [each.evaluate(label) for each in page.locator("#recording [data-testid=source-select] button").all()]
    assert sources == [translate("recording.upload", language), translate("recording.microphone", language)]
    recorder = page.locator("#recording .record-button").inner_text()
    assert recorder == translate("audio.record", language) or locale == "fr-FR"  # Gradio has French texts


def test_the_page_can_be_used_without_a_mouse(visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        element = page.evaluate_handle("document.activeElement")
        reached.append(element.evaluate("node => node.innerText || node.ariaLabel || node.title || node.type || ''"))
        if reached[-1].strip() == CLIP.name:
            break
    assert "Transcribe" in {each.strip() for each in reached}
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
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        nameless = [line for line in page.locator("main").aria_snapshot().splitlines() if line.strip() in NAMELESS]
        assert nameless == [], tab


NAMELESS = {"- button", "- textbox", "- checkbox", "- combobox", "- link", "- tab"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    upload(page, CLIP)
    page.locator("#transcribe").click()
    page.locator("#drawing svg").wait_for()
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)  # colors fade in
        found = page.evaluate(COLORS)
        assert len(found) > 10
        low = {text: (color, behind) for text, color, behind in found if contrast(color, behind) < 4.5}
        assert low == {}, tab
