"""Test the comparison of cards."""

from hypothesis import given
from hypothesis import strategies as st

from escoita.cards.front_matter import marked
from escoita.cards.verify.text import check_names, check_sections, check_versions, every_block, figures_of, named


def test_figures_of_a_text() -> None:
    text = "WER **7.12 %** (−1.5 to 1,234.5), +3, no measurable difference; better than 2e-05 of LoRA r8"
    assert figures_of(text) == ["7.12 %", "−1.5", "1,234.5", "+3", "no measurable difference", "better", "2e-05", "8"]


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")))
def test_equal_cards_have_no_differences(text: str) -> None:
    card = "# Mine\n" + marked("results", f"WER 1\n{text}\nend")
    assert {check.verdict for check in check_sections(card, card, True)} <= {"holds", "cannot be proven"}
    assert len(every_block(card)) == 1


def test_a_block_without_a_record_and_a_card_without_blocks() -> None:
    made = marked("results", "WER 1 %")
    checks = check_sections(made + marked("more", "WER 0 %"), made, True)
    assert [check.verdict for check in checks if check.what == "card: more"] == ["differs"]
    assert [check.verdict for check in check_sections("# Mine", made, True)] == ["differs"]


def test_names_in_a_card() -> None:
    card = marked(
        "usage", """load("ana/base", adapter='ana/uz') `escoita verify ana/uz` <https://huggingface.co/bea/x>"""
    )
    assert named(card) == ["ana/base", "ana/uz", "ana/uz", "bea/x"]
    assert check_names(card, marked("usage", "nothing"), "ana/uz", "ana/base").lines == [
        "bea/x instead of ana/uz or ana/base"
    ]


def test_versions_are_those_of_the_record() -> None:
    card = marked("provenance", "Framework versions: python 3.11.1, torch 2.13.0+cpu, hf\\_xet 1.8.0.")
    assert check_versions(card, {"python": "3.11.1", "torch": "2.13.0+cpu", "hf_xet": "1.8.0"}).verdict == "holds"
    assert check_versions(card, {"torch": "2.13.0"}).verdict == "differs"
    assert check_versions("", {"torch": "2.13.0"}).verdict == "not checked"
