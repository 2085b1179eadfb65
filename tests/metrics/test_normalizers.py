import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from escoita.metrics.normalizers import (
    NORMALIZERS,
    UNNORMALIZED,
    WordChanges,
    has_word,
    normalizer,
    word_changes,
)


WHISPER = BasicTextNormalizer()
# Characters with special treatment: brackets, marks, capitals of NFKC, characters that NFKC decomposes, apostrophes,
# spaces, invisible characters, Cyrillic letters that depend on their neighbors.
TRICKY = (
    "aAoOgGiIİıñÑé0²½ªʻʼ'’‘`´ʹ′\x92[](){}<>⑴﹙⟨⟩-–_.,¿?%=ΣσβßΐℐⅧ℃ﬁ…´¨\u0301\u0307\u0315\u0323\u0327\u0338\u20e3\ufe0f❤"
)
SPACES = " \t\n\r\x0b\x1c\x85\u00a0\u2028\u3000\x00\u00ad\u200b\u200d\ufeff\ue000\u0378"
TEXT = st.text(st.sampled_from(TRICKY + SPACES + "еёцшщъьЪюяўғсҳоИиЎв")) | st.text() | st.text(st.characters())


def number_of_words(text: str) -> int:
    """Count the words with a digit or a letter other than modifiers, which apostrophes may be."""
    kinds = [{unicodedata.category(char) for char in word} for word in text.split()]
    return sum(any(kind[0] in "LN" and kind != "Lm" for kind in word) for word in kinds)


@given(TEXT)
def test_bytes_changes_nothing_and_raw_the_unicode_form_only(text: str) -> None:
    assert normalizer("bytes")(text) == text
    assert normalizer("raw")(text) == unicodedata.normalize("NFC", text)


@given(TEXT)
@pytest.mark.parametrize("name", [name for name in NORMALIZERS if name != "bytes"])
def test_the_unicode_form_does_not_matter(name: str, text: str) -> None:
    composed = normalizer(name)(unicodedata.normalize("NFC", text))
    assert normalizer(name)(unicodedata.normalize("NFD", text)) == composed
    assert unicodedata.is_normalized("NFC", composed) or name == "basic"


@given(TEXT)
def test_basic_is_the_normalizer_of_whisper_without_edge_spaces(text: str) -> None:
    assert normalizer("basic")(text) == WHISPER(text).strip()


@given(TEXT)
@pytest.mark.parametrize("name", [name for name in NORMALIZERS if name not in UNNORMALIZED])
def test_words_are_separated_by_single_spaces(name: str, text: str) -> None:
    normalized = normalizer(name)(text)
    assert normalized == " ".join(normalized.split())


@given(TEXT)
@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizers_are_idempotent(name: str, text: str) -> None:
    # Whisper's normalizer keeps the dot of a capital that NFKC produces (ℐ and U+0307), and removes it the next time.
    assume(name != "basic" or "İ" not in unicodedata.normalize("NFKC", text.lower()))
    once = normalizer(name)(text)
    assert normalizer(name)(once) == once


@given(TEXT)
@pytest.mark.parametrize("name", ["uzbek", "uzbek-latin", "galician", "unicode", "unicode-turkic"])
def test_only_letters_accents_and_digits_remain(name: str, text: str) -> None:
    normalized = normalizer(name)(text)
    assert unicodedata.is_normalized("NFC", normalized)
    assert {unicodedata.category(char)[0] for char in normalized} <= set("LMNZ")
    assert not set(normalized) & set("'’‘`´")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("¿Que hora é, Antón?", "que hora é antón"),
        ("Mañá [música] chámame (si)", "mañá chámame"),
        ("O‘zbek", "o zbek"),
        ("20 ℃", "20 c"),
        ("\u200bben", "\u200bben"),
    ],
)
def test_examples_of_basic(text: str, expected: str) -> None:
    assert normalizer("basic")(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("¿Que hora é, Antón?", "que hora é antón"),
        ("Man\u0303a\u0301 [música] chámame (si)", "mañá música chámame si"),
        ("A lingüística d’Ancora: come-lo caldo", "a lingüística d ancora come lo caldo"),
        ("O 1º, 3,5 % máis ❤️", "o 1º 3 5 máis"),
        ("İLLA ﬁn soft\u00adware", "illa ﬁn software"),
    ],
)
def test_examples_of_galician(text: str, expected: str) -> None:
    assert normalizer("galician")(text) == expected


@pytest.mark.parametrize("name", ["uzbek", "uzbek-latin"])
def test_every_apostrophe_of_uzbek_is_normalized(name: str) -> None:
    for apostrophe in "'’‘`´ʻʼʹ′ʽʾʿ＇‛ˈˊˋ❛❜｀ꞌ΄\x91\x92":
        typed = "Oʻzbek togʻi, gʻoʻza: maʼno, sanʼat".replace("ʻ", apostrophe).replace("ʼ", apostrophe)
        assert normalizer(name)(typed) == "oʻzbek togʻi gʻoʻza maʼno sanʼat", ascii(apostrophe)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Tog', bog’ va yog‘", "togʻ bogʻ va yogʻ"),
        ("Man’ etmoq", "manʼ etmoq"),
        ("O''zbek", "oʻzbek"),
        ("‘Yo‘q’, dedi u.", "yoʻq dedi u"),
        ("'Kino' so'zi", "kino soʻzi"),
        ("(‘kino’)", "kino"),
        ("`kino` va ''metro''", "kino va metro"),
        ("'Tog'' va ‘bog’’", "togʻ va bogʻ"),
        ("‘Bog‘ va tog‘’", "bogʻ va togʻ"),
        ("‘Bor.’ Man’ etdi.", "bor manʼ etdi"),
        ("'Kelsin va man' etsin", "kelsin va man etsin"),
        ("'Kelsin", "kelsin"),
        ("ʻaka ʼuka 5' ʻ", "aka uka 5"),
        ("Asta-sekin «oʻqi» [kulgi] 50%", "asta sekin oʻqi kulgi 50"),
        ("İstanbul I i\u0307sh", "istanbul i ish"),
        ("Ўзбек тили, маъно", "ўзбек тили маъно"),
        ("é o\u0301 ñ", "é ó ñ"),
    ],
)
def test_examples_of_uzbek(text: str, expected: str) -> None:
    assert normalizer("uzbek")(text) == expected


@pytest.mark.parametrize(
    "cyrillic, latin",
    [
        ("Ўзбекистон", "oʻzbekiston"),
        ("ғишт, қор, ҳаво, хат, журнал, чой, шаҳар", "gʻisht qor havo xat jurnal choy shahar"),
        ("ёмон юлдуз яхши эшик", "yomon yulduz yaxshi eshik"),
        ("Европа, поезд, метр", "yevropa poyezd metr"),
        ("цирк, акция, конституция, лицей, абзац", "sirk aksiya konstitutsiya litsey abzas"),
        ("маъно, санъат, қатъий, маъюс, тоғ", "maʼno sanʼat qatʼiy maʼyus togʻ"),
        ("мўъжиза, объект, адъютант", "moʻjiza obyekt adyutant"),
        ("альбом, пьеса, павильон, компьютер", "albom pyesa pavilyon kompyuter"),
        ("Исҳоқ, ямщик, вышка", "isʼhoq yamshik vishka"),
        ("'Кино' va o'g'il, дунё-dunyo", "kino va oʻgʻil dunyo dunyo"),
        ("ъ ь 5ъ", "5"),
    ],
)
def test_cyrillic_is_converted_to_latin(cyrillic: str, latin: str) -> None:
    assert normalizer("uzbek-latin")(cyrillic) == normalizer("uzbek-latin")(cyrillic.upper()) == latin


@given(st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x3FF) | st.sampled_from(TRICKY)))
def test_both_uzbek_normalizers_agree_on_latin_text(text: str) -> None:
    assert normalizer("uzbek-latin")(text) == normalizer("uzbek")(text)


def test_an_unknown_normalizer_is_refused() -> None:
    with pytest.raises(ValueError):
        normalizer("english")


@pytest.mark.parametrize(
    "reference, normalized, merged, split, emptied",
    [
        ("Ola, Antón!", "ola antón", 0, 0, 0),
        ("Vai — e – vén ?", "vai e vén", 0, 0, 0),
        ("O‘zbek", "o zbek", 0, 1, 0),
        ("asta - sekin", "asta sekin", 0, 0, 0),
        ("asta-sekin", "asta sekin", 0, 1, 0),
        ("asta sekin", "astasekin", 1, 0, 0),
        ("Mañá [música] chámame", "mañá chámame", 1, 0, 0),
        ("o‘g‘il [kulgi] keldi", "o g il keldi", 1, 1, 0),
        ("o‘q [a]", "o q", 1, 1, 0),
        ("un dous-tres catro cinco", "un dous tres catrocinco", 1, 1, 0),
        ("[música]", "", 0, 0, 1),
        ("— ?", "", 0, 0, 0),
        ("", "", 0, 0, 0),
        ("Ўзбек тили маъно", "oʻzbek tili maʼno", 0, 0, 0),
        ("бир икки", "bir", 1, 0, 0),
        ("un", "un dous", 0, 1, 0),
        ("℃", "c", 0, 1, 0),
    ],
)
def test_word_changes_of_examples(reference: str, normalized: str, merged: int, split: int, emptied: int) -> None:
    examples = [(reference, normalized)] if merged or split or emptied else []
    assert word_changes([reference], [normalized]) == WordChanges(merged, split, emptied, examples)


def test_word_changes_of_a_corpus() -> None:
    corpus = ["Oʻzbek tili", "Asta-sekin, o'g'lim", "Bor (kulgi) – dedi", "[shovqin]", "Ўзбек"]
    changes = {name: word_changes(corpus, list(map(normalizer(name), corpus))) for name in NORMALIZERS}
    counts = {name: (found.merged, found.split, found.emptied) for name, found in changes.items()}
    assert counts == {
        "raw": (0, 0, 0),
        "basic": (1, 1, 1),
        "uzbek": (0, 1, 0),
        "uzbek-latin": (0, 1, 0),
        "galician": (0, 1, 0),
        "unicode": (0, 1, 0),
        "unicode-turkic": (0, 1, 0),
        "bytes": (0, 0, 0),
    }
    assert changes["basic"].examples == [
        ("Asta-sekin, o'g'lim", "asta sekin o g lim"),
        ("Bor (kulgi) – dedi", "bor dedi"),
        ("[shovqin]", ""),
    ]


def test_examples_alternate_between_kinds_of_changes() -> None:
    corpus = ["[risas]"] * 9 + ["sen-fin", "ola (risas) mundo"]
    examples = word_changes(corpus, list(map(normalizer("basic"), corpus))).examples
    assert (
        examples
        == [*zip(["[risas]", "sen-fin", "ola (risas) mundo"], ["", "sen fin", "ola mundo"], strict=True)]
        + [("[risas]", "")] * 2
    )


def test_the_number_of_examples_is_limited() -> None:
    changes = word_changes(["a-b"] * 100, ["a b"] * 100)
    assert (changes.split, len(changes.examples)) == (100, 5)


@given(st.lists(TEXT, max_size=5))
def test_raw_has_no_word_changes(texts: list[str]) -> None:
    assert word_changes(texts, texts) == WordChanges(0, 0, 0, [])


@given(TEXT)
@pytest.mark.parametrize("name", NORMALIZERS)
def test_a_changed_number_of_words_is_counted(name: str, text: str) -> None:
    normalized = normalizer(name)(text)
    before, after = number_of_words(text), number_of_words(normalized)
    changes = word_changes([text], [normalized])
    assert changes.merged + changes.emptied >= (after < before)
    assert changes.split >= (after > before)


@given(st.lists(st.sampled_from(["keep", "join", "split"]), min_size=1, max_size=8))
def test_joined_and_split_words_are_found(plan: list[str]) -> None:
    """Each word is joined to the next, split in two, or unchanged."""
    words = [2 * chr(ord("a") + index) for index in range(len(plan) + 1)]
    ends = {"keep": "{} ", "join": "{}", "split": "{0[0]} {0[1]} "}
    normalized = "".join(ends[action].format(word) for action, word in zip([*plan, "keep"], words, strict=True))
    changes = word_changes([" ".join(words)], [normalized])
    assert (changes.merged, changes.split, changes.emptied) == ("join" in plan, "split" in plan, 0)


def test_references_and_normalized_texts_must_have_one_length() -> None:
    with pytest.raises(ValueError):
        word_changes(["un"], [])


@pytest.mark.parametrize("name", NORMALIZERS)
def test_a_long_text_of_one_character_is_not_processed_in_quadratic_time(name: str) -> None:
    """Quadratic time would be minutes."""
    for piece in ("<", "[", "(", " 'a", " ‘‘a", " `a", "'", "1'", "ъе", "<]("):
        normalizer(name)(piece * (100_000 // len(piece)))


@pytest.mark.parametrize("text, expected", [("ola", True), ("三", True), ("๑", True), ("… — ?!", False), ("", False)])
def test_a_text_has_a_word_if_it_has_a_letter_or_a_digit(text: str, expected: bool) -> None:
    assert has_word(text) is expected
