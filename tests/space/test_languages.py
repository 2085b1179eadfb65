"""Which language a visitor is spoken to in, as Gradio sends the page over HTTP."""

import json
import re
import urllib.request
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.space.texts import LANGUAGES, AcceptLanguage, language_of, page_texts, texts
from tests.space.browsing import CHROMIUM, FLAGS


@pytest.mark.parametrize(
    "asked, language",
    [
        ("gl-ES,gl;q=0.9,es;q=0.8,en;q=0.7", "gl"),
        ("es-ES,es;q=0.9,gl;q=0.8", "gl"),
        ("UZ", "uz"),
        ("uz-Latn-UZ, en;q=0.5", "uz"),
        ("en;q=0.3, uz;q=0.8", "uz"),
        ("fr,*;q=0.1", "en"),
        ("gl;q=0", "en"),
        ("gl;q=much, uz;q=0.1", "uz"),
        ("", "en"),
        (None, "en"),
    ],
)
def test_the_language_that_a_browser_asks_for_most(asked: str | None, language: str) -> None:
    assert language_of(asked, LANGUAGES) == language


@given(st.text())
def test_any_header_gives_a_language_that_is_offered(asked: str) -> None:
    assert language_of(asked, ["gl", "uz"]) in ("gl", "uz")


def test_the_first_that_is_offered_is_the_last_resort() -> None:
    assert language_of("en", ["gl", "uz"]) == "gl"


@pytest.fixture
def address() -> Iterator[str]:
    import gradio as gr
    from starlette.middleware import Middleware

    i18n = page_texts(LANGUAGES, repo="ana/voices", limits="1 MB")
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Button(i18n("transcribe.button"), elem_id="button")
        gr.Textbox(label=i18n("transcript.label"), placeholder=i18n("transcript.placeholder"))
        with gr.Tab(i18n("tab.about")):
            gr.Markdown(i18n("about.none"))
            gr.Checkbox(label=i18n("feedback.consent"))
    _, url, _ = page.launch(
        app_kwargs={"middleware": [Middleware(AcceptLanguage)]},
        i18n=i18n,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
    )
    yield url
    page.close(verbose=False)


def sent(address: str, asked: str) -> dict[str, dict[str, str]]:
    """Texts as they come with the page."""
    request = urllib.request.Request(address, headers={"Accept-Language": asked})  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        config = re.search(r"window\.gradio_config = (.*?);</script>", answer.read().decode())
    assert config is not None
    found: dict[str, dict[str, str]] = json.loads(config[1])["i18n_translations"]
    return found


def test_each_visitor_gets_the_page_in_the_language_of_the_browser(address: str) -> None:
    for asked, language in [("gl-ES,gl;q=0.9", "gl"), ("fr", "en"), ("uz", "uz"), ("gl", "gl"), ("en", "en")]:
        found = sent(address, asked)
        assert found["en"]["tab.about"] == texts(language)["tab.about"]
        assert found["uz"]["tab.about"] == texts("uz")["tab.about"]
        assert "ana/voices" in found["en"]["feedback.consent"]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
@pytest.mark.parametrize("locale, language", [("gl-ES", "gl"), ("uz-UZ", "uz"), ("es-ES", "en"), ("en-GB", "en")])
def test_a_browser_shows_the_page_in_its_language(address: str, locale: str, language: str) -> None:
    from playwright.sync_api import expect, sync_playwright

    words = texts(language)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser,
    ):
        page = browser.new_page(locale=locale)
        page.goto(address)
        expect(page.locator("#button")).to_have_text(words["transcribe.button"], timeout=30_000)
        expect(page.get_by_role("tab", name=words["tab.about"])).to_be_visible()
        expect(page.get_by_text(words["about.none"])).to_be_visible()
        expect(page.get_by_label(words["transcript.label"], exact=True)).to_have_attribute(
            "placeholder", words["transcript.placeholder"]
        )
        expect(page.get_by_label(words["feedback.consent"].format(repo="ana/voices"))).to_be_visible()
