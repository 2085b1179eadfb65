"""Test language codes."""

import pytest

from escoita.models.languages import closest, matching


WHISPER = ["en", "gl", "uz", "no", "jw", "yue"]
MMS = [
    "eng",
    "glg",
    "uzb-script_cyrillic",
    "uzb-script_latin",
    "azj-script_cyrillic",
    "azj-script_latin",
    "kmr",
    "swh",
    "zlm",
]


@pytest.mark.parametrize(
    "language, known, code",
    [
        ("gl", WHISPER, "gl"),
        ("glg", WHISPER, "gl"),
        ("uzn", WHISPER, "uz"),
        ("nb", WHISPER, "no"),
        ("nob", WHISPER, "no"),
        ("jv", WHISPER, "jw"),
        ("yue", WHISPER, "yue"),
        ("eu", WHISPER, None),
        ("", WHISPER, None),
        ("gl", MMS, "glg"),
        ("en", MMS, "eng"),
        ("uz", MMS, "uzb-script_latin"),
        ("az", MMS, "azj-script_latin"),
        ("sw", MMS, "swh"),
        ("ms", MMS, "zlm"),
        ("gl", ["../glg", "glg/x", "glg\n"], None),
        ("gl", [], None),
    ],
)
def test_equivalent_language_codes_match(language: str, known: list[str], code: str | None) -> None:
    assert matching(language, known) == code


def test_the_closest_languages() -> None:
    """CLDR: readers of Uyghur also read Chinese; Asturian and Galician are used in Spain."""
    assert closest("ug", ["en", "zh", "gl"]) == ["zh"]
    assert closest("ast", ["es", "gl", "uz"]) == ["es", "gl"]
    assert closest("dv", ["es", "gl"]) == []
