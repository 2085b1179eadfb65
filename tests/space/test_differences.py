"""Test the comparison of two texts."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.metrics.wer import character_edits, word_edits
from escoita.space.differences import CSS, DARK, LIGHT, MAX_WORDS, compare, marked, too_long
from escoita.space.texts import translate
from tests.space.colors import contrast


HOSTILE = "<img src=x onerror=alert(1)> \"&'</div>"


def compared(first: str, second: str, reference: bool = False, normalizer: str = "raw") -> str:
    return marked(compare(first, second, normalizer, reference), "Base", "Adapter", "uz")


def words(page: str, tag: str) -> list[str]:
    return re.findall(f"<{tag}>(.*?)</{tag}>", page.split('class="words"')[-1])


def test_different_words_are_struck_through_or_underlined() -> None:
    page = compared("chiroqni yoq hozir", "chiroqlarni yoq endi hozir")
    assert words(page, "del") == ["chiroqni"]
    assert words(page, "ins") == ["chiroqlarni", "endi"]
    assert "<del>chiroqni</del> <ins>chiroqlarni</ins> yoq <ins>endi</ins> hozir" in page
    first, second = (translate("differences.only", name=name) for name in ("Base", "Adapter"))
    assert f"<del>{first}</del> <ins>{second}</ins>" in page
    assert "WER" not in page


def test_differences_are_not_marked_only_by_color() -> None:
    assert re.search(r"del \{ text-decoration: line-through", CSS)
    assert re.search(r"ins \{ text-decoration: underline", CSS)


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_differences_have_enough_contrast(scheme: dict[str, tuple[str, str]]) -> None:
    for ink, ground in scheme.values():
        assert contrast(ink, ground) >= 4.5
        assert f"color: {ink}; background: {ground};" in CSS


def test_rates_are_equal_to_those_of_an_evaluation() -> None:
    reference, prediction = "Oʻn besh, olma", "o'n beshta olma"
    raw, normalized = compare(reference, prediction, "raw", True), compare(reference, prediction, "uzbek", True)
    assert raw.wer == word_edits([reference], [prediction]).rate
    assert raw.cer == character_edits([reference], [prediction]).rate
    assert normalized.wer == pytest.approx(1 / 3) and normalized.chunks[1].reference == ("besh",)
    page = marked(normalized, "Reference", "Adapter", "uz")
    assert "WER 33.33 %, CER" in page and translate("differences.normalized", name="uzbek") in page
    assert translate("differences.raw") in marked(raw, "Reference", "Adapter", "uz")


def test_equal_texts() -> None:
    page = compared("bo día", "bo día", reference=True)
    assert translate("differences.none") in page and "WER 0.00 %" in page and "<del>" not in page


@pytest.mark.parametrize("first, second", [("", ""), ("", "salom"), ("salom", " ")])
def test_empty_texts(first: str, second: str) -> None:
    page = compared(first, second, reference=True)
    assert words(page, "ins") == second.split() and words(page, "del") == first.split()
    assert ("WER" in page) == bool(first)


def test_an_unknown_normalizer_is_an_error() -> None:
    with pytest.raises(ValueError, match="galego"):
        compare("a", "b", "galego")


def test_labels_are_translated() -> None:
    page = marked(compare("un", "dous"), "Base", "Adaptador", "gl", "gl")
    assert translate("differences.only", "gl", name="Adaptador") in page and 'lang="gl"' in page


@given(st.one_of(st.just(HOSTILE), st.text(max_size=30)), st.one_of(st.just(HOSTILE), st.text(max_size=30)))
def test_any_text_is_escaped(first: str, second: str) -> None:
    page = marked(compare(first, second, "raw", True), HOSTILE, HOSTILE, HOSTILE)
    assert set(re.findall(r"<(/?\w+)", page)) <= {"div", "/div", "p", "/p", "del", "/del", "ins", "/ins"} | {
        "strong",
        "/strong",
    }
    visible = re.sub("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", page)
    assert ElementTree.fromstring(visible).tag == "div"  # noqa: S314


def test_too_long() -> None:
    assert too_long("a " * MAX_WORDS, "a") and not too_long("a " * (MAX_WORDS - 1), "a")
