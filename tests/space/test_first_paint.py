"""Test the initial HTML of the page, and what a browser shows before any event has run."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from escoita.recipe.schema import Space
from escoita.records.evaluation import EvaluationRecord
from escoita.space.client_limits import limits
from escoita.space.texts import translate
from escoita.utils.formatting import percent
from tests.space.browsing import CHROMIUM, Visit, served
from tests.space.pages import demo_of


@pytest.fixture(scope="module")
def address(quickstart_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        with served(demo_of(quickstart_run, title="Uzbek <b>speech</b>", loading=lambda: True)) as address:
            yield address


class Visible(HTMLParser):
    """Collect the language, and the text outside of scripts and styles."""

    def __init__(self, page: str):
        super().__init__()
        self.language, self.text, self._inside = "", "", ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        if tag == "html":
            self.language = dict(attrs)["lang"] or ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data


def config_of(page: str) -> Any:
    match = re.search(r"window\.gradio_config = (.*?);</script>", page)
    assert match
    return json.loads(match[1])


@pytest.mark.parametrize("language", ["en", "gl", "uz"])
def test_the_initial_page_has_its_texts_in_the_language_of_the_browser(
    address: str, quickstart_run: Path, language: str
) -> None:
    page = httpx.get(address, headers={"Accept-Language": f"{language};q=0.9, fr"}).text
    visible = Visible(page)
    assert visible.language == language
    assert "Uzbek <b>speech</b>" in visible.text
    rates = EvaluationRecord.read(quickstart_run / "eval/results.json").corpora[0].main_system.normalized
    lead = translate("page.lead", language, limits=limits(Space(), language))
    for text in (
        lead,
        translate("status.loading", language),
        translate("about.results", language),
        percent(rates.wer),
    ):
        assert text in visible.text
    values = {each["props"].get("elem_id"): each["props"].get("value") for each in config_of(page)["components"]}
    assert lead in values["lead"] and values["notice"] == translate("status.loading", language)
    assert translate("about.results", language) in values["about"] and "data:image/svg+xml" in values["about"]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_the_texts_are_shown_before_any_script_has_run(visit: Visit, address: str) -> None:
    page = visit()
    page.context.route("**/assets/**", lambda route: route.abort())
    page.reload(wait_until="domcontentloaded")
    assert page.locator(".first-paint h1").is_visible()
    assert page.locator(".first-paint").get_by_text(translate("status.loading")).is_visible()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_the_built_page_needs_no_event_for_its_texts(visit: Visit, address: str) -> None:
    from playwright.sync_api import expect

    page = visit(locale="gl-ES")
    page.context.route("**/gradio_api/**", lambda route: route.abort())
    page.reload()
    expect(page.locator("#lead")).to_contain_text(translate("page.lead", "gl", limits=limits(Space(), "gl")))
    expect(page.locator("#notice")).to_have_text(translate("status.loading", "gl"))
    expect(page.locator(".first-paint")).to_be_hidden()
    assert page.get_by_role("heading", level=1).count() == 1
