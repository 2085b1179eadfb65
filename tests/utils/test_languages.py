"""Test the mapping of language tags to names, scripts and the codes of models and corpora."""

import pytest

from escoita.utils.languages import (
    FLEURS,
    WHISPER,
    LanguageError,
    closest,
    direction,
    is_right_to_left,
    iso639,
    join_texts,
    language_codes,
    language_tag,
    matching,
    name_and_tag,
    same_language,
    suggested_tag,
    text_direction,
    without_spaces,
)


@pytest.mark.parametrize(
    "text, tag",
    [("gl", "gl"), ("yor", "yor"), ("UZ_latn", "uz-Latn"), ("sr-cyrl", "sr-Cyrl"), ("pt-br", "pt-BR"), ("no", "no")],
)
def test_tags_have_the_usual_case(text: str, tag: str) -> None:
    assert language_tag(text) == tag
    assert language_tag(tag) == tag


@pytest.mark.parametrize("text", ["", "xx", "Uzbek", "uz-", "uz-Abcd", "gl\n", "../gl", "u", "o'zbek"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(LanguageError):
        language_tag(text)


@pytest.mark.parametrize(
    "name, tag",
    [
        ("Uzbek", "uz"),
        ("galego", "gl"),
        ("Galician", "gl"),
        ("uz_UZ", "uz-UZ"),
        ("uzb", "uzb"),
        ("", None),
        ("!?", None),
    ],
)
def test_names_are_known(name: str, tag: str | None) -> None:
    assert suggested_tag(name) == tag


@pytest.mark.parametrize(
    "tag, name, script, codes",
    [
        ("gl", "Galician", "Latn", ("gl", "gl", "gl_es", "glg")),
        ("uz", "Uzbek", "Latn", ("uz", "uz", "uz_uz", "uzb-script_latin")),
        ("uz-Cyrl", "Uzbek (Cyrillic)", "Cyrl", ("uz", "uz", "uz_uz", "uzb-script_cyrillic")),
        ("sr-Cyrl", "Serbian (Cyrillic)", "Cyrl", ("sr", "sr", "sr_rs", "srp-script_cyrillic")),
        ("sr-Latn", "Serbian (Latin)", "Latn", ("sr", "sr", "sr_rs", "srp-script_latin")),
        ("yor", "Yoruba", "Latn", ("yo", "yo", "yo_ng", "yor")),
        ("ug-Arab", "Uyghur (Arabic)", "Arab", ("ug", None, None, "uig-script_arabic")),
        ("zh", "Chinese", "Hans", ("zh", "zh", "cmn_hans_cn", "cmn-script_simplified")),
        ("cmn", "Mandarin Chinese", "Hans", ("cmn", "zh", "cmn_hans_cn", "cmn-script_simplified")),
        ("yue", "Cantonese", "Hant", ("yue", "yue", "yue_hant_hk", "yue-script_traditional")),
        ("fil", "Filipino", "Latn", ("fil", "tl", "fil_ph", "tgl")),
        ("jv", "Javanese", "Latn", ("jv", "jw", "jv_id", "jav")),
        ("nb", "Norwegian Bokmål", "Latn", ("nb", "no", "nb_no", "nob")),
        ("ee", "Ewe", "Latn", ("ee", None, None, "ewe")),
        ("ff-Adlm", "Fula (Adlam)", "Adlm", ("ff", None, "ff_sn", "ful")),
    ],
)
def test_one_table_has_all_codes(
    tag: str, name: str, script: str, codes: tuple[str, str | None, str | None, str]
) -> None:
    found = language_codes(tag)
    assert (found.name, found.script) == (name, script)
    assert (found.iso639, found.whisper, found.fleurs, found.mms) == codes


def test_every_language_of_whisper_and_fleurs_is_found_by_its_code() -> None:
    assert (len(WHISPER), len(FLEURS)) == (100, 102)
    for code in WHISPER:
        assert matching(code, WHISPER) == code
    for configuration in FLEURS:
        assert matching(configuration.partition("_")[0], FLEURS) == configuration


@pytest.mark.parametrize("tag, code", [("yor", "yo"), ("uzb", "uz"), ("tl", "tl"), ("uz-Latn", "uz"), ("qaa", "qaa")])
def test_the_hub_gets_the_shortest_code(tag: str, code: str) -> None:
    assert iso639(tag) == code


def test_several_languages_are_named() -> None:
    assert name_and_tag("gl, uz-Latn") == "Galician (gl), Uzbek (Latin) (uz-Latn)"
    assert (name_and_tag("qaa"), name_and_tag("")) == ("qaa", "")


@pytest.mark.parametrize(
    "tag, right_to_left, joined",
    [
        ("gl", False, False),
        ("ko", False, False),
        ("vi", False, False),
        ("th", False, True),
        ("lo", False, True),
        ("km", False, True),
        ("my", False, True),
        ("bo", False, True),
        ("dz", False, True),
        ("ja", False, True),
        ("zh", False, True),
        ("zh-Hant", False, True),
        ("yue", False, True),
        ("wuu", False, True),
        ("zh-Latn", False, False),
        ("gl, th", False, True),
        ("ar", True, False),
        ("ug-Latn", False, False),
        ("uz-Arab", True, False),
        ("nqo", True, False),
        ("", False, False),
    ],
)
def test_the_script_decides_direction_and_spaces(tag: str, right_to_left: bool, joined: bool) -> None:
    assert without_spaces(tag) is joined
    assert (direction(tag) == "rtl") is right_to_left


WHISPER_CODES = ["en", "gl", "uz", "no", "jw", "yue"]
MMS_CODES = [
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
        ("gl", WHISPER_CODES, "gl"),
        ("glg", WHISPER_CODES, "gl"),
        ("uzn", WHISPER_CODES, "uz"),
        ("nb", WHISPER_CODES, "no"),
        ("nob", WHISPER_CODES, "no"),
        ("jv", WHISPER_CODES, "jw"),
        ("yue", WHISPER_CODES, "yue"),
        ("eu", WHISPER_CODES, None),
        ("", WHISPER_CODES, None),
        ("gl", MMS_CODES, "glg"),
        ("en", MMS_CODES, "eng"),
        ("uz", MMS_CODES, "uzb-script_latin"),
        ("az", MMS_CODES, "azj-script_latin"),
        ("sw", MMS_CODES, "swh"),
        ("ms", MMS_CODES, "zlm"),
        ("gl", ["../glg", "glg/x", "glg\n"], None),
        ("gl", [], None),
    ],
)
def test_equivalent_language_codes_match(language: str, known: list[str], code: str | None) -> None:
    assert matching(language, known) == code


@pytest.mark.parametrize(
    "tag, other, same",
    [
        ("uz", "uz-Latn", True),
        ("uz-Latn", "uz", True),
        ("uz", "uz-Cyrl", True),
        ("uz-Cyrl", "uz", False),
        ("uzb", "uz", True),
        ("kk", "uz", False),
    ],
)
def test_a_tag_without_a_script_is_of_any(tag: str, other: str, same: bool) -> None:
    assert same_language(tag, other) == same


def test_the_closest_languages() -> None:
    """CLDR: readers of Uyghur also read Chinese; Asturian and Galician are used in Spain."""
    assert closest("ug", ["en", "zh", "gl"]) == ["zh"]
    assert closest("ast", ["es", "gl", "uz"]) == ["es", "gl"]
    assert closest("dv", ["es", "gl"]) == []


@pytest.mark.parametrize(
    "language, texts, joined",
    [
        ("gl", ["ola", "", "mundo"], "ola mundo"),
        ("", ["ola", "mundo"], "ola mundo"),
        ("th", ["ภาษา", "", "ไทย"], "ภาษาไทย"),
        ("ja", ["飲む。", "そう"], "飲む。そう"),
        ("zh", ["用 Python", "3 写"], "用 Python 3 写"),
        ("zh", ["用 Python", "写"], "用 Python写"),
        ("bo", ["བོད་", "སྐད"], "བོད་སྐད"),
        ("ko", ["한국어", "문장"], "한국어 문장"),
        ("th", [], ""),
    ],
)
def test_stretches_are_joined(language: str, texts: list[str], joined: str) -> None:
    assert join_texts(texts, language) == joined


@pytest.mark.parametrize(
    "text, expected",
    [
        ("ئۇيغۇر", True),
        ("«שלום» abc", True),
        ("abc שלום", False),
        ("12 ދިވެހި", True),
        ("ߒߞߏ", True),
        ("—", False),
        ("", False),
    ],
)
def test_the_first_letter_decides_the_direction_of_a_text(text: str, expected: bool) -> None:
    assert is_right_to_left(text) is expected


@pytest.mark.parametrize(
    "tag, expected", [("ug", "rtl"), ("ug-Latn", "auto"), ("gl", "auto"), ("", "auto"), (None, "auto")]
)
def test_texts_of_other_languages_decide_themselves(tag: str | None, expected: str) -> None:
    assert text_direction(tag) == expected
