from collections import Counter

import pytest

from escoita.metrics.characters import count_characters, inventory, main_script, other_script, script_of


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


def test_most_letters_decide_the_script() -> None:
    assert main_script(count_characters(["un dous", "три"])) == "Latin"
    assert main_script(Counter("... 12")) == ""


def test_every_character_is_listed_with_its_name_and_the_rare_are_marked() -> None:
    listed = inventory(count_characters(["oʻn oʻttiz o'n", "un\u200b", "nnnn"]))
    assert [(each.character, each.count) for each in listed[:2]] == [("n", 7), ("o", 3)]
    stray = {each.character: (each.code_point, each.name, each.rare) for each in listed if each.rare}
    assert stray["'"] == ("U+0027", "APOSTROPHE", True)
    assert stray["ʻ"] == ("U+02BB", "MODIFIER LETTER TURNED COMMA", True)
    assert stray["\u200b"] == ("U+200B", "ZERO WIDTH SPACE", True)
    assert "n" not in stray


def test_rare_in_a_large_corpus() -> None:
    rare = {each.character: each.rare for each in inventory(Counter({"a": 999_990, "b": 10, "c": 11}))}
    assert rare == {"a": False, "b": True, "c": False}
