"""Test the page on a phone: nothing covers a control, plots fit, and two texts are below each other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from escoita.recipe.schema import Space
from escoita.space.texts import translate
from tests.space.browsing import Visit, in_chromium, served, upload
from tests.space.pages import demo_of
from tests.space.stub import CLIP, Stub


pytestmark = in_chromium
PHONE = {"width": 390, "height": 844}
# The controls of the page that another element covers in their middle.
COVERED = """() => [...document.querySelectorAll("main button, main input, main textarea, main a, main summary")]
    .filter((control) => control.checkVisibility() && control.getClientRects().length)
    .filter((control) => {
        control.scrollIntoView({block: "center"});
        const box = control.getBoundingClientRect();
        const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        return top && top.closest(".toast-wrap, .toast-body");
    }).map((control) => control.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def address(quickstart_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        settings = Space(examples=[str(CLIP)], example_texts={CLIP.name: "musiqani och"})
        demo = demo_of(quickstart_run, settings=settings, ready=lambda: Stub("salom dunyo"))
        with served(demo) as address:
            yield address


def test_no_message_covers_a_control(visit: Visit, tmp_path: Path) -> None:
    page = visit(viewport=PHONE, has_touch=True)
    page.locator("#transcribe").tap()
    page.locator("#status .error").wait_for()
    assert page.get_by_test_id("toast-body").count() == 0
    page.context.route("**/upload*", lambda route: route.fulfill(status=429, body="Too many uploads."))
    page.locator("#recording [data-testid=source-select] button").first.tap()
    page.locator("#recording input[type=file]").set_input_files(CLIP)
    page.get_by_test_id("toast-body").wait_for()
    page.wait_for_timeout(500)
    assert page.evaluate(COVERED) == []


def test_plots_fit_and_the_texts_of_compare_are_below_each_other(visit: Visit) -> None:
    page = visit(viewport=PHONE, has_touch=True)
    page.get_by_role("tab", name="Compare").tap()
    first, second = (page.locator("#compare-texts .block").nth(number).bounding_box() for number in range(2))
    assert first and second and second["y"] >= first["y"] + first["height"] and first["x"] == second["x"]
    page.get_by_role("tab", name="About").tap()
    plot = page.locator("#about img").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]


def test_an_example_shows_its_sentence(visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit(viewport=PHONE)
    page.get_by_role("button", name="musiqani och").first.click()
    expect(page.locator("#transcript textarea")).to_have_value("salom dunyo")


def test_the_upload_of_a_recording_ends_with_its_transcript(visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit(viewport=PHONE, has_touch=True, locale="uz-UZ")
    upload(page, CLIP)
    page.locator("#transcribe").tap()
    expect(page.locator("#transcript textarea")).to_have_value("salom dunyo")
    assert translate("status.no_words", "uz") not in page.locator("#status").inner_text()
