"""Comparing over HTTP, as programs do, and what the page is told."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from escoita.recipe.schema import Space
from escoita.space.tabs.compare import both, called, compare_tab, differences, status_line
from tests.space.browsing import CHROMIUM, FLAGS
from tests.space.stub import CLIP
from tests.space.pages import about_what, opened


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))


def ask(address: str, *arguments: Any) -> Any:
    client = Client(address, verbose=False)
    try:
        return client.predict(handle_file(CLIP), *arguments, api_name="/compare")
    finally:
        client.close()


def test_both_models_hear_the_clip_and_the_base_is_told_the_prompt_of_the_other() -> None:
    demo = about_what()
    with opened(demo, compare_tab) as address:
        answer = ask(address)
    assert answer == {
        "done": True,
        "models": [{"name": "base", "text": "salem dunya"}, {"name": "uzbek", "text": "salom dunyo"}],
        "normalizer": "raw",
    }
    assert demo.ready().asked == [(None, "uzbek"), ("uzbek", None)]  # type: ignore[attr-defined]
    assert demo.ready().closed == 2  # type: ignore[attr-defined]


def test_a_reference_gives_rates() -> None:
    with opened(about_what(), compare_tab) as address:
        base, adapter = ask(address, "base", "uzbek", "salom dunyo")["models"]
    assert (base["wer"], adapter["wer"], adapter["cer"]) == (1.0, 0.0, 0.0)


def test_text_comes_before_the_end() -> None:
    texts = [
        heard.texts for heard in both(about_what(heard={None: "a b c d", "uzbek": "e"}), str(CLIP), ("base", "uzbek"))
    ]
    assert ("a b", "") in texts and texts[-1] == ("a b c d", "e")


def test_two_adapters_and_no_others() -> None:
    demo = about_what(adapters={"a": "acme/a", "b": "acme/b"}, heard={None: "x", "a": "y", "b": "z"})
    with opened(demo, compare_tab) as address:
        models = ask(address, "a", "b", "")["models"]
        with pytest.raises(AppError, match="not in the list of choices"):
            ask(address, "a", "evil/adapter", "")
    assert [model["text"] for model in models] == ["y", "z"]
    assert called(demo, "a", "en") == "a" and called(about_what(), "uzbek", "en") == "Adapter"


@pytest.mark.parametrize("how", ["fail", "break"])
def test_what_goes_wrong_is_a_message(how: str) -> None:
    with opened(about_what(heard={None: how}), compare_tab) as address, pytest.raises(AppError) as caught:
        ask(address)
    message = str(caught.value)
    assert "secret" not in message and "<b>" not in message
    assert message.startswith("&lt;b&gt;0001.ogg" if how == "fail" else "Something went wrong on our side")


def test_one_request_takes_no_longer_than_the_recipe_says() -> None:
    demo = about_what(settings=Space(max_seconds=1e-9))
    with opened(demo, compare_tab) as address, pytest.raises(AppError, match="^This took longer than the"):
        ask(address)


def test_differences_are_marked_and_escaped() -> None:
    demo = about_what()
    page = differences(demo, ("base", "uzbek"), ("<i>bir</i> ikki", "uch ikki"), "", "raw", "en")
    assert "<del>&lt;i&gt;bir&lt;/i&gt;</del> <ins>uch</ins> ikki" in page and "WER" not in page
    assert differences(demo, ("base", "uzbek"), ("", ""), "bir", "raw", "en") == ""
    assert "too long" in differences(demo, ("base", "uzbek"), ("a " * 20_001, ""), "", "raw", "en")


def test_rates_of_the_raw_texts_stand_beside() -> None:
    page = differences(about_what(), ("base", "uzbek"), ("Oʻn", "o'n"), "oʻn.", "uzbek", "en")
    assert page.count("WER 0.00 %, CER 0.00 %") == 2 and page.count("WER 100.00 %") == 2


def test_the_status_line_is_escaped_and_in_the_visitors_language() -> None:
    demo = about_what(adapters={"<i>": "acme/a", "b": "acme/b"}, heard={"<i>": "", "b": "y"})
    *_, last = both(demo, str(CLIP), ("<i>", "b"))
    line = status_line(demo, last, "gl")
    assert "&lt;i&gt;: 1.0 s de audio, transcritos en 0.5 s; non se escoitou ningunha palabra<br>b: " in line


@pytest.fixture
def address() -> Iterator[str]:
    with opened(about_what(settings=Space(examples=[str(CLIP)])), compare_tab) as address:
        yield address


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_a_visitor_compares_and_types_a_reference_afterwards(address: str) -> None:
    from playwright.sync_api import expect, sync_playwright

    assert shutil.which("chromium") == CHROMIUM
    complaints: list[str] = []
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser:
        page = browser.new_page(locale="gl-ES", viewport={"width": 390, "height": 800})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        page.get_by_role("button", name=CLIP.name).click()
        expect(page.locator("#compare-recording").get_by_label("Clear")).to_be_visible(timeout=30_000)
        button = page.get_by_role("button", name="Comparar", exact=True)
        button.focus()
        page.keyboard.press("Enter")
        result = page.locator("#comparison")
        expect(page.get_by_label("Modelo base")).to_have_value("salem dunya")
        expect(page.get_by_label("Adaptador")).to_have_value("salom dunyo")
        expect(result.locator(".words del")).to_have_text("salem dunya")
        expect(result.locator(".words ins")).to_have_text("salom dunyo")
        page.get_by_label("O que se dixo (opcional)").fill("salom dunyo")
        expect(result).to_contain_text("WER 0.00 %")
        expect(result).to_contain_text("WER 100.00 %")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.locator("#compare-recording").get_by_label("Clear").click()
        expect(page.get_by_label("Adaptador")).to_have_value("")
        expect(result).not_to_contain_text("WER")
    assert complaints == []
