"""Test the comparison of two models, over HTTP and in a browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from escoita.recipe.schema import Space
from escoita.space.tabs.compare import compare_tab, differences, display_name, status_line, transcribe_with_both
from escoita.space.texts import translate
from tests.space.browsing import CHROMIUM, FLAGS
from tests.space.pages import demo_of, opened
from tests.space.stub import CLIP


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))


def call_compare(address: str, *arguments: Any) -> Any:
    client = Client(address, verbose=False)
    try:
        return client.predict(handle_file(CLIP), *arguments, api_name="/compare")
    finally:
        client.close()


def test_both_models_transcribe_the_clip_with_the_prompt_of_the_adapter() -> None:
    demo = demo_of()
    with opened(demo, compare_tab) as address:
        answer = call_compare(address)
    assert answer == {
        "done": True,
        "models": [{"name": "base", "text": "salem dunya"}, {"name": "uzbek", "text": "salom dunyo"}],
        "normalizer": "raw",
    }
    assert demo.ready().requests == [(None, "uzbek"), ("uzbek", None)]  # type: ignore[attr-defined]
    assert demo.ready().closed == 2  # type: ignore[attr-defined]


def test_a_reference_gives_rates() -> None:
    with opened(demo_of(), compare_tab) as address:
        base, adapter = call_compare(address, "base", "uzbek", "salom dunyo")["models"]
    assert (base["wer"], adapter["wer"], adapter["cer"]) == (1.0, 0.0, 0.0)


def test_texts_are_streamed() -> None:
    texts = [
        result.texts
        for result in transcribe_with_both(
            demo_of(texts={None: "a b c d", "uzbek": "e"}), str(CLIP), ("base", "uzbek")
        )
    ]
    assert ("a b", "") in texts and texts[-1] == ("a b c d", "e")


def test_only_the_adapters_of_the_demo_are_used() -> None:
    demo = demo_of(adapters={"a": "acme/a", "b": "acme/b"}, texts={None: "x", "a": "y", "b": "z"})
    with opened(demo, compare_tab) as address:
        models = call_compare(address, "a", "b", "")["models"]
        with pytest.raises(AppError, match="not in the list of choices"):
            call_compare(address, "a", "evil/adapter", "")
    assert [model["text"] for model in models] == ["y", "z"]
    assert display_name(demo, "a", "en") == "a"
    assert display_name(demo_of(), "uzbek", "gl") == translate("compare.adapter", "gl")


@pytest.mark.parametrize("text", ["fail", "break"])
def test_errors_are_messages(text: str) -> None:
    with opened(demo_of(texts={None: text}), compare_tab) as address, pytest.raises(AppError) as caught:
        call_compare(address)
    message = str(caught.value)
    assert "secret" not in message and "<b>" not in message
    assert message.startswith("&lt;b&gt;0001.ogg" if text == "fail" else translate("refusal.internal"))


def test_the_time_limit_of_the_recipe_applies_to_both_models() -> None:
    demo = demo_of(settings=Space(max_seconds=1e-9))
    with opened(demo, compare_tab) as address, pytest.raises(AppError) as caught:
        call_compare(address)
    assert caught.value.message == translate("refusal.time", time="1e-09 seconds")


def test_differences_are_marked_and_escaped() -> None:
    demo = demo_of()
    page = differences(demo, ("base", "uzbek"), ("<i>bir</i> ikki", "uch ikki"), "", "raw", "en")
    assert "<del>&lt;i&gt;bir&lt;/i&gt;</del> <ins>uch</ins> ikki" in page and "WER" not in page
    assert differences(demo, ("base", "uzbek"), ("", ""), "bir", "raw", "en") == ""
    assert translate("differences.too_long") in differences(
        demo, ("base", "uzbek"), ("a " * 20_001, ""), "", "raw", "en"
    )


def test_raw_rates_follow_normalized_rates() -> None:
    page = differences(demo_of(), ("base", "uzbek"), ("Oʻn", "o'n"), "oʻn.", "uzbek", "en")
    assert page.count("WER 0.00 %, CER 0.00 %") == 2 and page.count("WER 100.00 %") == 2


def test_the_status_line_is_escaped_and_in_the_visitors_language() -> None:
    demo = demo_of(adapters={"<i>": "acme/a", "b": "acme/b"}, texts={"<i>": "", "b": "y"})
    *_, last = transcribe_with_both(demo, str(CLIP), ("<i>", "b"))
    line = status_line(demo, last, "gl")
    done, no_words = translate("status.done", "gl", audio="1.0", compute="0.5"), translate("status.no_words", "gl")
    assert f"&lt;i&gt;: {done}; {no_words}<br>b: " in line


@pytest.fixture
def address() -> Iterator[str]:
    with opened(demo_of(settings=Space(examples=[str(CLIP)])), compare_tab) as address:
        yield address


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_a_visitor_compares_and_then_types_a_reference(address: str) -> None:
    from playwright.sync_api import expect, sync_playwright

    errors: list[str] = []
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser:
        page = browser.new_page(locale="gl-ES", viewport={"width": 390, "height": 800})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        button, error = page.get_by_role("button", name="Comparar", exact=True), page.locator("#compare-status .error")
        button.click()
        expect(error).to_be_visible()
        page.get_by_role("button", name=CLIP.name).click()
        expect(error).to_have_count(0)  # the page has the recording, and has forgotten the previous attempt
        button.focus()
        page.keyboard.press("Enter")
        result = page.locator("#comparison")
        expect(page.get_by_label("Modelo base")).to_have_value("salem dunya")
        expect(page.get_by_label("Adaptador")).to_have_value("salom dunyo")
        expect(result.locator(".words del")).to_have_text("salem dunya")
        expect(result.locator(".words ins")).to_have_text("salom dunyo")
        page.get_by_label(translate("compare.reference_label", "gl")).fill("salom dunyo")
        expect(result).to_contain_text("WER 0.00 %")
        expect(result).to_contain_text("WER 100.00 %")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.locator("#compare-recording").get_by_label(translate("common.clear", "gl")).click()
        expect(page.get_by_label("Adaptador")).to_have_value("")
        expect(result).not_to_contain_text("WER")
    assert errors == []
