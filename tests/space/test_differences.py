import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.metrics.wer import character_edits, word_edits
from escoita.space.differences import CSS, DARK, LIGHT, MOST_WORDS, compare, marked, too_long
from tests.space.colors import contrast


HOSTILE = "<img src=x onerror=alert(1)> \"&'</div>"


def shown(first: str, second: str, reference: bool = False, normalizer: str = "raw") -> str:
    return marked(compare(first, second, normalizer, reference), "Base", "Adapter", "uz")


def words(page: str, tag: str) -> list[str]:
    return re.findall(f"<{tag}>(.*?)</{tag}>", page.split('class="words"')[-1])


def test_words_of_one_text_alone_are_struck_through_and_those_of_the_other_underlined() -> None:
    page = shown("chiroqni yoq hozir", "chiroqlarni yoq endi hozir")
    assert words(page, "del") == ["chiroqni"]
    assert words(page, "ins") == ["chiroqlarni", "endi"]
    assert "<del>chiroqni</del> <ins>chiroqlarni</ins> yoq <ins>endi</ins> hozir" in page
    assert "<del>Base only</del> <ins>Adapter only</ins>" in page
    assert "WER" not in page


def test_the_sign_of_a_difference_is_not_its_colour_alone() -> None:
    assert re.search(r"del \{ text-decoration: line-through", CSS)
    assert re.search(r"ins \{ text-decoration: underline", CSS)


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_differences_can_be_read_in_light_and_in_dark(scheme: dict[str, tuple[str, str]]) -> None:
    for ink, ground in scheme.values():
        assert contrast(ink, ground) >= 4.5
        assert f"color: {ink}; background: {ground};" in CSS


def test_rates_are_those_of_an_evaluation() -> None:
    said, heard = "Oʻn besh, olma", "o'n beshta olma"
    raw, alike = compare(said, heard, "raw", True), compare(said, heard, "uzbek", True)
    assert raw.wer == word_edits([said], [heard]).rate and raw.cer == character_edits([said], [heard]).rate
    assert alike.wer == pytest.approx(1 / 3) and alike.chunks[1].reference == ("besh",)
    assert "WER 33.33 %, CER" in marked(alike, "Reference", "Adapter", "uz")
    assert "after the normaliser uzbek" in marked(alike, "Reference", "Adapter", "uz")
    assert "as they stand" in marked(raw, "Reference", "Adapter", "uz")


def test_nothing_differs() -> None:
    page = shown("bo día", "bo día", reference=True)
    assert "No word differs" in page and "WER 0.00 %" in page and "<del>" not in page


@pytest.mark.parametrize("first, second", [("", ""), ("", "salom"), ("salom", " ")])
def test_empty_texts(first: str, second: str) -> None:
    page = shown(first, second, reference=True)
    assert words(page, "ins") == second.split() and words(page, "del") == first.split()
    assert ("WER" in page) == bool(first)


def test_an_unknown_normaliser_is_refused() -> None:
    with pytest.raises(ValueError, match="no normaliser is called"):
        compare("a", "b", "galego")


def test_the_page_speaks_the_visitors_language_and_the_texts_their_own() -> None:
    page = marked(compare("un", "dous"), "Base", "Adaptador", "gl", "gl")
    assert "Só en Adaptador" in page and 'lang="gl"' in page


@given(st.one_of(st.just(HOSTILE), st.text(max_size=30)), st.one_of(st.just(HOSTILE), st.text(max_size=30)))
def test_any_text_stays_text(first: str, second: str) -> None:
    page = marked(compare(first, second, "raw", True), HOSTILE, HOSTILE, HOSTILE)
    assert set(re.findall(r"<(/?\w+)", page)) <= {"div", "/div", "p", "/p", "del", "/del", "ins", "/ins"} | {
        "strong",
        "/strong",
    }
    visible = re.sub("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", page)
    assert ElementTree.fromstring(visible).tag == "div"  # noqa: S314


def test_texts_that_are_too_long_to_be_shown() -> None:
    assert too_long("a " * MOST_WORDS, "a") and not too_long("a " * (MOST_WORDS - 1), "a")
