"""Open the report in a browser without network: the file is complete, and any text of the data is displayed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from escoita.evaluation.aggregate import score
from escoita.evaluation.report.render import write_report
from tests.evaluation.report_samples import clips_of, quickstart_clips, with_errors, write_hypotheses
from tests.space.browsing import FLAGS


if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
LONG = "q" * 5000
TEXTS = [
    "<script>alert(1)</script>",
    "\"quoted\" 'it' ]]> <!--",
    "\u202eyoq\u202e \u200fmen \u2067",
    LONG,
    "مرحبا بالعالم",
]
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval")
    clips = quickstart_clips(30)
    texts = clips.column("text")
    write_hypotheses(folder, clips, {"adapter": with_errors(texts, 0.6), "base": with_errors(texts, 0.8, 1)})
    write_hypotheses(folder, clips_of(TEXTS, "texts"), {"adapter": TEXTS[1:] + TEXTS[:1], "base": TEXTS})
    return write_report(folder, score(folder, resamples=50), {"quickstart-uz": clips}, {"quickstart-uz"})


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser:
        yield browser


def wait_until(page: "Page", condition: str) -> None:
    """Wait like `wait_for_function`, which needs `eval`, which the policy of the page forbids."""
    for _ in range(500):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"never true: {condition}")


@pytest.fixture
def page(browser: "Browser", report: Path) -> Iterator["Page"]:
    context = browser.new_context(offline=True)
    page = context.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda entry: complaints.append(entry.text))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(report.as_uri())
    yield page
    assert [request for request in requests if not request.startswith("data:")] == [report.as_uri()]
    assert complaints == []
    context.close()


def test_rates_plots_and_worst_utterances_are_visible(page: "Page") -> None:
    from playwright.sync_api import expect

    expect(page.get_by_role("table", name="Error rates of every system on every corpus.")).to_be_visible()
    expect(page.get_by_role("img", name="Word error rate by corpus")).to_be_visible()
    expect(page.locator("ol.worst > li")).to_have_count(20)
    page.get_by_role("link", name="Confusions").click()
    expect(page.get_by_role("heading", name="Confusions")).to_be_in_viewport()


def test_recordings_can_be_played(page: "Page") -> None:
    from playwright.sync_api import expect

    players = page.locator("audio")
    expect(players.first).to_be_visible()
    # The duration is known after the recording was read from the page.
    wait_until(page, "[...document.querySelectorAll('audio')].every(player => player.duration > 0.2)")
    assert players.evaluate_all("players => players.every(player => player.error === null)")


def test_plots_are_legible_in_the_dark_scheme(page: "Page") -> None:
    colors = (
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('svg text')).fill]"
    )
    page.emulate_media(color_scheme="light")
    assert page.evaluate(colors) == ["rgb(255, 255, 255)", "rgb(89, 98, 108)"]
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colors) == ["rgb(20, 23, 26)", "rgb(160, 170, 180)"]


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_does_not_scroll_horizontally(page: "Page", width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.locator("details").evaluate_all("all => all.forEach(details => details.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_wide_tables_scroll_in_their_box_by_keyboard(page: "Page") -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    box = page.locator("#rates .scroll")
    box.focus()
    page.keyboard.press("ArrowRight")
    wait_until(page, "document.querySelector('#rates .scroll').scrollLeft > 0")


def test_markup_in_data_is_displayed_as_text(page: "Page") -> None:
    shown = page.locator("ol.worst").inner_text()
    for text in TEXTS:
        assert all(word in shown for word in text.split())
    assert page.locator("script").count() == 0
    # A character that changes the direction affects only its own box.
    assert page.locator(".worst .note").evaluate_all(
        "notes => notes.every(note => getComputedStyle(note).direction === 'ltr')"
    )


def test_right_to_left_texts_are_aligned_from_right_to_left(page: "Page") -> None:
    arabic = page.locator("li", has_text="texts-5").locator(".alignment")
    assert arabic.evaluate("line => getComputedStyle(line).direction") == "rtl"
