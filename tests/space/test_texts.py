"""
Test the texts of the page and the choice of the visitor's language.

`space/texts/en.json` contains all strings that the page shows in English, and therefore serves as their snapshot. Here
the languages are checked for equal keys and placeholders, and the English texts for phrases that are hard to read.
"""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.metrics.normalizers import APOSTROPHES
from escoita.space.texts import (
    GRADIO,
    LANGUAGES,
    AcceptLanguage,
    format_time,
    page_texts,
    placeholders,
    preferred_language,
    texts,
    translate,
)
from tests.space.browsing import CHROMIUM, FLAGS
from tests.space.stub import ROOT


PHRASES = (ROOT / "tests/docs/phrases.txt").read_text("utf-8").splitlines()


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_have_the_same_keys_and_placeholders(language: str) -> None:
    assert list(texts(language)) == list(texts("en"))
    for key, text in texts(language).items():
        assert text and text == text.strip(), key
        assert placeholders(text) == placeholders(texts("en")[key]), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_contain_no_markup(language: str) -> None:
    for key, text in texts(language).items():
        assert not re.search(r"[<>&]|\s\s", text), key


def test_uzbek_texts_use_the_letters_of_the_alphabet() -> None:
    for key, text in texts("uz").items():
        signs = {sign for sign in text if sign in APOSTROPHES}
        assert signs <= {"ʻ", "ʼ"}, key
        assert not re.search("(?<![ogOG])ʻ|(?<=[ogOG])ʼ", text), key
    assert translate("transcribe.stop", "uz") == "Toʻxtatish"


def static_text(template: Path) -> str:
    """Return the text of a template without its tags."""
    return re.sub(r"\{[#%{].*?[#%}]\}", " ", template.read_text("utf-8"), flags=re.DOTALL)


def test_english_texts_and_templates_contain_no_phrase_that_is_hard_to_read() -> None:
    sources = dict(texts("en"))
    sources |= {path.name: static_text(path) for path in (ROOT / "space/templates").iterdir()}
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, PHRASES))})\b", re.IGNORECASE)
    found = {name: match[0] for name, text in sources.items() if (match := pattern.search(" ".join(text.split())))}
    assert len(PHRASES) > 20 and found == {}


def test_placeholders_are_filled() -> None:
    assert translate("limits.both", time="1 minute", megabytes=5) == "1 minute and 5 MB"
    assert translate("limits.both", "gl", time="1 minuto", megabytes=5) == "1 minuto e 5 MB"
    with pytest.raises(KeyError):
        translate("limits.both", megabytes=5)


@pytest.mark.parametrize(
    "seconds, language, expected",
    [
        (1, "en", "1 second"),
        (30, "en", "30 seconds"),
        (90, "en", "90 seconds"),
        (150, "en", "2.5 minutes"),
        (1, "gl", "1 segundo"),
        (1800, "gl", "30 minutos"),
        (30, "uz", "30 soniya"),
        (120, "uz", "2 daqiqa"),
    ],
)
def test_format_time(seconds: float, language: str, expected: str) -> None:
    assert format_time(seconds, language) == expected


def test_every_text_is_used() -> None:
    paths = [*(ROOT / "escoita/space").rglob("*.py"), *(ROOT / "space/templates").iterdir()]
    code = "".join(path.read_text("utf-8") for path in paths)
    for key in texts("en"):
        group, name = key.split(".")
        # Keys of refusals and times are composed.
        assert key in code or (group == "refusal" and f'"{name}"' in code) or group in ("time", *GRADIO), key


def test_texts_of_gradio_have_its_keys() -> None:
    import gradio

    scripts = list((Path(gradio.__file__).parent / "templates/frontend/assets").glob("*.js"))
    code = "".join(path.read_text("utf-8") for path in scripts)
    for key in texts("en"):
        assert key.split(".")[0] not in GRADIO or key in code, key


@pytest.mark.parametrize(
    "accept_language, language",
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
def test_preferred_language(accept_language: str | None, language: str) -> None:
    assert preferred_language(accept_language, LANGUAGES) == language


@given(st.text())
def test_preferred_language_is_offered_for_any_header(header: str) -> None:
    assert preferred_language(header, ["gl", "uz"]) in ("gl", "uz")


def test_preferred_language_defaults_to_the_first_one_offered() -> None:
    assert preferred_language("en", ["gl", "uz"]) == "gl"


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


def downloaded_texts(address: str, accept_language: str) -> dict[str, dict[str, str]]:
    """Return the texts by language that Gradio sends with the page."""
    request = urllib.request.Request(address, headers={"Accept-Language": accept_language})  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        config = re.search(r"window\.gradio_config = (.*?);</script>", answer.read().decode())
    assert config is not None
    found: dict[str, dict[str, str]] = json.loads(config[1])["i18n_translations"]
    return found


def test_the_page_has_the_texts_of_the_visitors_language(address: str) -> None:
    for header, language in [("gl-ES,gl;q=0.9", "gl"), ("fr", "en"), ("uz", "uz"), ("gl", "gl"), ("en", "en")]:
        found = downloaded_texts(address, header)
        assert found["en"]["tab.about"] == texts(language)["tab.about"]
        assert found["uz"]["tab.about"] == texts("uz")["tab.about"]
        assert "ana/voices" in found["en"]["feedback.consent"]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
@pytest.mark.parametrize("locale, language", [("gl-ES", "gl"), ("uz-UZ", "uz"), ("es-ES", "en"), ("en-GB", "en")])
def test_a_browser_shows_the_page_in_its_language(address: str, locale: str, language: str) -> None:
    from playwright.sync_api import expect, sync_playwright

    expected = texts(language)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser,
    ):
        page = browser.new_page(locale=locale)
        page.goto(address)
        expect(page.locator("#button")).to_have_text(expected["transcribe.button"], timeout=30_000)
        expect(page.get_by_role("tab", name=expected["tab.about"])).to_be_visible()
        expect(page.get_by_text(expected["about.none"])).to_be_visible()
        expect(page.get_by_label(expected["transcript.label"], exact=True)).to_have_attribute(
            "placeholder", expected["transcript.placeholder"]
        )
        expect(page.get_by_label(expected["feedback.consent"].format(repo="ana/voices"))).to_be_visible()
