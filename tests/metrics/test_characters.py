from collections import Counter

import pytest

from escoita.metrics.characters import (
    compared_form,
    count_characters,
    inventory,
    main_script,
    other_script,
    script_of,
)


@pytest.mark.parametrize(
    "character, script",
    [
        ("a", "Latin"),
        ("ñ", "Latin"),
        ("ｆ", "Latin"),
        ("ў", "Cyrillic"),
        ("ბ", "Georgian"),
        ("字", "Han and kana"),
        ("か", "Han and kana"),
        ("ｶ", "Han and kana"),
        ("ة", "Arabic"),
        ("ʻ", ""),
        ("´", ""),
        ("\u0301", ""),
        ("7", ""),
        (" ", ""),
        ("\ue000", ""),
        ("\u0378", ""),
    ],
)
def test_script_of_a_character(character: str, script: str) -> None:
    assert script_of(character) == script


@pytest.mark.parametrize(
    "text, main, other",
    [
        ("chiroqni yoq", "Latin", ""),
        ("чироқни ёқ", "Latin", "Cyrillic"),
        ("chiroqni yoq ок", "Latin", ""),
        ("123 !?", "Latin", ""),
        ("", "", ""),
        ("字かなカナ", "Han and kana", ""),
    ],
)
def test_a_text_in_another_script(text: str, main: str, other: str) -> None:
    assert other_script(text, main) == other


def test_the_main_script_is_that_of_most_letters() -> None:
    assert main_script(count_characters(["un dous", "три"])) == "Latin"
    assert main_script(Counter("... 12")) == ""


def test_the_inventory_lists_every_character_and_marks_rare_ones() -> None:
    listed = inventory(count_characters(["oʻn oʻttiz o'n", "un\u200b", "nnnn"]))
    assert [(each.character, each.count) for each in listed[:2]] == [("n", 7), ("o", 3)]
    stray = {each.character: (each.code_point, each.name, each.rare) for each in listed if each.rare}
    assert stray["'"] == ("U+0027", "APOSTROPHE", True)
    assert stray["ʻ"] == ("U+02BB", "MODIFIER LETTER TURNED COMMA", True)
    assert stray["\u200b"] == ("U+200B", "ZERO WIDTH SPACE", True)
    assert "n" not in stray


def test_rare_characters_of_a_large_corpus() -> None:
    rare = {each.character: each.rare for each in inventory(Counter({"a": 999_990, "b": 10, "c": 11}))}
    assert rare == {"a": False, "b": True, "c": False}


@pytest.mark.parametrize(
    "one, other",
    [
        ("Chiroqni yoq!", "chiroqni  yoq"),
        ("oʻn bir", "O'n bir"),
        ("oʻn bir", "o’n bir"),
        ("ma\u02bcno", "ma\u02b9no"),
        ("dóus", "do\u0301us"),
        ("Straße", "STRASSE"),
        ("İ", "i\u0307"),
        ("un-dous", "un dous"),
        ("¿que?", "que"),
    ],
)
def test_transcripts_with_equal_compared_forms(one: str, other: str) -> None:
    assert compared_form(one) == compared_form(other) != ""


@pytest.mark.parametrize("one, other", [("dóus", "dous"), ("ano", "año"), ("1", "2"), ("कि", "का"), ("яд", "йд")])
def test_transcripts_with_different_compared_forms(one: str, other: str) -> None:
    assert compared_form(one) != compared_form(other)
