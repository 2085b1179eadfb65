"""Test the `unicode` normalizer on a table of scripts: case, marks, punctuation, apostrophes and Unicode forms."""

import unicodedata

import pytest

from escoita.metrics.normalizers import default_normalizer, mark_changes, normalizer


# The language, a text as corpora write it, and the normalized text.
CASES = [
    ("es", "¿Qué tal, Ñandú?", "qué tal ñandú"),
    ("fr", "L’été, «c'est» l'œuvre!", "lʼété cʼest lʼœuvre"),
    ("de", "STRASSE und Straße", "strasse und strasse"),
    ("ca", "col·legi, L’Hospitalet", "collegi lʼhospitalet"),
    ("el", "ΟΔΟΣ, οδός;", "οδοσ οδόσ"),
    ("sr-Cyrl", "Ђорђе — «Њушка»", "ђорђе њушка"),
    ("yor", "Ẹ káàárọ̀, Ọ̀ṣun!", "ẹ káàárọ̀ ọ̀ṣun"),
    ("yor", "E\u0323\u0300ko\u0323\u0301", "ẹ\u0300kọ\u0301"),
    ("ee", "Eʋegbe: ŋ̀ɖi ɔ̃", "eʋegbe ŋ̀ɖi ɔ̃"),
    ("vi", "Tiếng Việt, được.", "tiếng việt được"),
    ("uz-Latn", "O'zbek, oʻzbek, O‘zbek, maʼno", "oʼzbek oʼzbek oʼzbek maʼno"),
    ("haw", "ʻOkina, Hawai'i", "ʼokina hawaiʼi"),
    ("tr", "İstanbul", "istanbul"),
    ("ar", "مُدَرِّسَةٌ، كـتـاب؟", "مُدَرِّسَةٌ كتاب"),
    ("ug-Arab", "ئۇيغۇر تىلى، «ياخشى»!", "ئۇيغۇر تىلى ياخشى"),
    ("fa", "می‌خواهم.", "میخواهم"),
    ("he", 'שָׁלוֹם, צה"ל תל־אביב', "שָׁלוֹם צהל תל אביב"),
    ("yi", "ייִדיש, מאַמע־לשון", "ייִדיש מאַמע לשון"),
    ("hi", "हिन्दी भाषा।", "हिन्दी भाषा"),
    ("hi", "क़लम", "क\u093cलम"),
    ("bn", "বাংলা ভাষা, ০১২।", "বাংলা ভাষা ০১২"),
    ("ta", "தமிழ் மொழி!", "தமிழ் மொழி"),
    ("ml", "മലയാളം — ഭാഷ", "മലയാളം ഭാഷ"),
    ("si", "ශ්\u200dරී ලංකා", "ශ්රී ලංකා"),
    ("th", "ภาษาไทย ก็ดี ๑๒", "ภาษาไทยก็ดี๑๒"),
    ("lo", "ພາສາ ລາວ.", "ພາສາລາວ"),
    ("km", "ភាសា\u200bខ្មែរ។", "ភាសាខ្មែរ"),
    ("my", "မြန်မာ ဘာသာ။", "မြန်မာဘာသာ"),
    ("bo", "བོད་སྐད་ཡིན།", "བོད སྐད ཡིན"),
    ("zh", "你好，世界！ABC 三", "你好世界 abc 三"),
    ("yue", "佢 哋 嚟 咗 。", "佢哋嚟咗"),
    ("ja", "コーヒー、を 飲む。", "コーヒーを飲む"),
    ("ko", "한국어 문장입니다.", "한국어 문장입니다"),
    ("ko", "\u1112\u1161\u11ab\u1100\u116e\u11a8", "한국"),
    ("ka", "ქართული ᲔᲜᲐ!", "ქართული ენა"),
    ("hy", "Հայոց լեզու։", "հայոց լեզու"),
    ("chr", "ᏣᎳᎩ ꮳꮃꭹ", "ᏣᎳᎩ ᏣᎳᎩ"),
    ("am", "አማርኛ፡ቋንቋ።", "አማርኛ ቋንቋ"),
    ("nqo", "ߒߞߏ، ߞߊ߲߫", "ߒߞߏ ߞߊ߲߫"),
    ("ff-Adlm", "𞤆𞤵𞤤𞤢𞤪𞥅.", "𞤨𞤵𞤤𞤢𞤪𞥅"),
    ("mn-Mong", "ᠮᠣᠩᠭᠣᠯ\u180e ᠬᠡᠯᠡ᠃", "ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ"),
    ("iu", "ᐃᓄᒃᑎᑐᑦ.", "ᐃᓄᒃᑎᑐᑦ"),
    ("zgh", "ⵜⴰⵎⴰⵣⵉⵖⵜ!", "ⵜⴰⵎⴰⵣⵉⵖⵜ"),
    ("dv", "ދިވެހި، ބަސް", "ދިވެހި ބަސް"),
    ("en", "It’s [noise] 3,5 % &c. 1️⃣ ❤️", "itʼs noise 3 5 c 1"),
]


@pytest.mark.parametrize("language, text, expected", CASES)
def test_scripts(language: str, text: str, expected: str) -> None:
    normalize = normalizer("unicode")
    assert normalize(text) == unicodedata.normalize("NFC", expected)
    for form in ("NFC", "NFD"):
        assert normalize(unicodedata.normalize(form, text)) == unicodedata.normalize("NFC", expected)
    assert normalize(normalize(text)) == normalize(text)
    # Every letter and mark of the text is kept, except the line that stretches Arabic words.
    kept = unicodedata.normalize("NFD", normalize(text))
    for character in unicodedata.normalize("NFD", text.casefold()):
        if unicodedata.category(character) in ("Lo", "Ll", "Mn", "Mc", "Nd") and character not in "\ufe0f\u0307":
            assert character in kept, character


@pytest.mark.parametrize(
    "text, expected", [("IŞIK, İzmir", "ışık izmir"), ("I\u0307stanbul", "istanbul"), ("ılıman iklim", "ılıman iklim")]
)
def test_turkic_languages_distinguish_two_letters(text: str, expected: str) -> None:
    assert normalizer("unicode-turkic")(text) == expected


@pytest.mark.parametrize(
    "language, name",
    [
        ("gl", "galician"),
        ("uzn", "uzbek"),
        ("uz-Cyrl", "uzbek"),
        ("uz-Arab", "unicode"),
        ("tr", "unicode-turkic"),
        ("az", "unicode-turkic"),
        ("az-Cyrl", "unicode"),
        ("kk", "unicode"),
        ("kk-Latn", "unicode-turkic"),
        ("yor", "unicode"),
        ("und", "unicode"),
    ],
)
def test_every_language_has_a_default(language: str, name: str) -> None:
    assert default_normalizer(language) == name


@pytest.mark.parametrize(
    "language, text, words",
    [
        ("es", "Ñandú está aquí", 0),
        ("yor", "Ẹ káàárọ̀ Ọ̀ṣun", 2),
        ("ee", "ŋ̀ɖi gbe", 1),
        ("hi", "हिन्दी भाषा", 2),
        ("th", "ก็ ดี", 2),
        ("vi", unicodedata.normalize("NFD", "Tiếng Việt"), 0),
    ],
)
def test_words_that_basic_splits_are_counted(language: str, text: str, words: int) -> None:
    found = mark_changes([text, "abc", ""])
    assert (found.texts, found.words) == (words > 0, words)
    assert found.all_words == len(text.split()) + 1
    before, after = found.example
    assert bool(before) == bool(words) and (not words or normalizer("basic")(before) == after)
