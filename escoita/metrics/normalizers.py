"""Normalize references and hypotheses before edits are counted, and count the words that this changes."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise, zip_longest
from typing import Literal, get_args
from unicodedata import category, normalize

from rapidfuzz.distance import LCSseq

from escoita.utils.languages import canonical, script_of_language


Normalizer = Literal["raw", "basic", "uzbek", "uzbek-latin", "galician", "unicode", "unicode-turkic", "bytes"]
NORMALIZERS: tuple[str, ...] = get_args(Normalizer)
# Names without normalization: `raw` composes characters only, and `bytes` changes nothing.
UNNORMALIZED = ("raw", "bytes")
# The normalizers of languages that have their own. All others have `unicode`, as `basic` removes the combining marks
# with which many scripts write vowels and tones.
_OF_LANGUAGE: dict[str, Normalizer] = {"uz": "uzbek", "gl": "galician"}
# The languages that distinguish ı and i in Latin script.
_TURKIC = {"az", "ba", "crh", "gag", "kk", "tr", "tt"}

TURNED_COMMA, TUTUQ = "ʻ", "ʼ"  # U+02BB, the second half of oʻ and gʻ, and U+02BC, the glottal stop of maʼno
# The characters that keyboards, word processors and web pages use instead; \x91 and \x92 are Windows-1252 read as
# Latin-1.
_TYPED = {"'": "'ˈ׳Ꞌꞌ＇", "`": "`ˋ‵｀", "‘": "‘‛ʽʿ῾❛\x91", "’": "’´ʹʾˊ΄՚᾽᾿′❜\x92", TURNED_COMMA: "ʻ", TUTUQ: "ʼ"}
APOSTROPHES = {sign: mark for mark, signs in _TYPED.items() for sign in signs}
_ANY = "".join(_TYPED)
_SIGNS = re.compile(f"[{_ANY}]+")
_QUOTES = [("''", "''"), ("‘‘", "’’"), ("``", "['’]{2}"), ("'", "'"), ("‘", "’"), ("’", "’"), ("`", "[`'’]")]
# The length is limited: in a text of opening signs only, the end of each would be searched up to the end of the text.
_QUOTED = "|".join(f"{opening}(?=[^ {_ANY}])(.{{1,2000}}?){closing}" for opening, closing in _QUOTES)
_QUOTATION = re.compile(f" (?:{_QUOTED})(?= )")

_VOWELS = "аеёиоуўэюяы"
_IN_CONTEXT = [  # in this order; the remaining letters are replaced one by one
    (re.compile(rf"(?<=[^\W\d_{_VOWELS}])ъ(?=[еёюя])"), "ь"),  # объект as пьеса, but маъюс with its glottal stop
    (re.compile("ьо"), "ьё"),
    (re.compile("сҳ"), "съҳ"),  # not the digraph sh
    (re.compile(rf"(?<=[{_VOWELS}])ц(?=\w)"), "ts"),
    (re.compile(rf"\bе|(?<=[{_VOWELS}ъь])е"), "ye"),
]
_LATIN = str.maketrans(
    dict(zip("абвгдежзийклмнопрстуфхцыэқҳ", "abvgdejziyklmnoprstufxsieqh", strict=True))
    | {"ё": "yo", "ч": "ch", "ш": "sh", "щ": "sh", "ю": "yu", "я": "ya", "ў": "oʻ", "ғ": "gʻ", "ъ": TUTUQ, "ь": ""}
)
_CYRILLIC = re.compile("[а-яёўқғҳ]")
_ALPHANUMERIC = re.compile(r"[^\W_]+")
_DOTTED = re.compile("i\u0307+")
_IN_BRACKETS = re.compile(r"[<\[].*?[>\]]", re.DOTALL)
_IN_PARENTHESES = re.compile(r"\([^)]+\)")
_EXAMPLES = 5

# Characters without a shape: fillers of Hangul, the grapheme joiner, vowels of Khmer that are never written, and
# selectors of variants (Unicode: Default_Ignorable_Code_Point), and the line that stretches Arabic words.
_WITHOUT_SHAPE = re.compile(
    "[\u034f\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Letters of scripts without spaces between words, with their marks: Thai, Lao, Burmese, Khmer, Tai Lue and Tai Tham;
# kana, Bopomofo and Chinese characters. Not Tibetan, whose syllables are separated by a point.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1980-\u19df\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaa7f\u3005-\u3007"
    "\u3031-\u3035\u303b\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9d\U0001aff0-\U0001afff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_BETWEEN_UNSPACED = re.compile(f"(?<=[{_UNSPACED}]) +(?=[{_UNSPACED}])")
# An apostrophe within a word, and signs that are written within one word of Hebrew (abbreviations) and Catalan.
_WITHIN_WORD = re.compile(r"(?<=[^\s\d'\"·])'+(?=[^\s\d'\"·])")
_JOINING = re.compile(r"(?<=[\u05d0-\u05ea])\"(?=[\u05d0-\u05ea])|(?<=l)·(?=l)")
_NO_LETTER = re.compile(rf"(?<!\S){TUTUQ}+(?!\S)|['\"·]")
_TURKIC_CAPITALS = str.maketrans({"I": "ı", "İ": "i"})


def default_normalizer(language: str) -> Normalizer:
    """
    Return the normalizer of a language: its own one, `unicode-turkic` for Turkish and its relatives, else `unicode`.

    Args:
        language (`str`): The BCP 47 tag of the language.
    """
    own, script = canonical(language), script_of_language(language)
    if own in _TURKIC and script == "Latn":
        return "unicode-turkic"
    return _OF_LANGUAGE.get(own, "unicode") if script in ("Latn", "Cyrl") else "unicode"


@cache
def normalizer(name: str) -> Callable[[str], str]:
    """
    Return the normalizer that a recipe names.

    `bytes` changes nothing, and `raw` composes characters only (Unicode NFC), because the same text may be encoded in
    two ways. All others return one case and single spaces, none at the edges, and change nothing when applied again
    (except that `basic`, like Whisper's, removes the dot of a styled capital I, `ℐ̇`, only then).

    `basic` is Whisper's BasicTextNormalizer as in transformers (Radford et al. 2022), without spaces at the edges: it
    keeps accents and ñ, splits words at apostrophes and hyphens, and removes text in brackets.

    `galician` composes characters (NFC) and keeps letters, accents (á, ñ, ü, ï) and digits. Everything else becomes a
    space, including brackets, apostrophes and hyphens: `come-lo` is two words, and text in brackets is kept.

    `uzbek` differs in apostrophes, which are part of Uzbek spelling. Any apostrophe becomes U+02BB, the second half of
    the letter, after `o` or `g`, and U+02BC, the tutuq belgisi, after another letter; several in a row are one. This
    also holds at the end of a word (`togʻ`, `manʼ`), unless the apostrophe closes a quotation that a matching one
    opened before a word: `'kino'` and `‘yo‘q’` lose theirs, `'tog''` keeps one. An apostrophe that does not follow a
    letter is a quotation mark and becomes a space. A hyphen becomes a space: `asta-sekin` is two words. Cyrillic is
    kept.

    `uzbek-latin` also converts Cyrillic to the alphabet of 1995, by the spelling rules of the same year (resolution
    339 of the Cabinet of Ministers): `е` becomes `ye` at the start of a word and after a vowel, `ъ` or `ь`; `ц`
    becomes `ts` after a vowel within a word, else `s`; `ъ` becomes tutuq belgisi, but is removed after `ў` and between
    a consonant and `е ё ю я`; `ь` is removed, `ьо` becomes `yo`, `сҳ` `sʼh`, `щ` `sh`, `ы` `i`. Words in Latin script
    are normalized as with `uzbek`.

    `unicode` is for every other language. It composes characters (NFC), folds case (`str.casefold`: `ẞ` is `ss`, final
    sigma is sigma, and Cherokee has capitals), and keeps the letters, combining marks and digits of every script.
    Everything else becomes a space, including hyphens and brackets; characters without a shape (joiners, soft hyphens,
    variation selectors, the tatweel of Arabic) are removed. An apostrophe between two letters is part of the word, in
    one spelling, U+02BC: `don't` is one word, `'kino'` loses its quotation marks. A Hebrew abbreviation (`צה"ל`) and
    the Catalan `l·l` are one word too. Spaces between letters of scripts that have none between words are removed, so
    that the CER does not depend on how a corpus divides Thai, Khmer, Burmese, Chinese or Japanese; in Tibetan, the
    point between syllables becomes a space. `I` becomes `i`, and `İ` too.

    `unicode-turkic` differs in the letters of Turkish and its relatives: `I` becomes `ı`, and `İ` becomes `i`.

    Args:
        name (`str`): The name, one of `NORMALIZERS`.

    Raises:
        ValueError: The name is unknown.
    """
    known: list[Callable[[str], str]] = [
        _composed,
        _basic,
        _uzbek,
        _uzbek_latin,
        _galician,
        _unicode,
        _unicode_turkic,
        str,
    ]
    if name not in NORMALIZERS:
        raise ValueError(f"unknown normalizer {name!r}; use one of {', '.join(NORMALIZERS)}")
    return known[NORMALIZERS.index(name)]


def _basic(text: str) -> str:
    text = text.lower()
    # Only up to the last closing bracket: in a text of opening brackets only, the time would be quadratic.
    if "[" in text or "<" in text:
        end = max(text.rfind("]"), text.rfind(">")) + 1
        text = _IN_BRACKETS.sub("", text[:end]) + text[end:]
    if "(" in text:
        end = text.rfind(")") + 1
        text = _IN_PARENTHESES.sub("", text[:end]) + text[end:]
    text = normalize("NFKC", text)
    # A printable character is a letter, a digit, or becomes a space; Whisper's normalizer keeps unprintable ones.
    words = _ALPHANUMERIC.findall(text) if text.isprintable() else text.translate(_NO_SYMBOLS).split()
    # Lower case again: NFKC produces capitals from symbols such as ℃ and 𝐀.
    return " ".join(words).lower()


def _composed(text: str) -> str:
    return normalize("NFC", text)


def _unicode(text: str) -> str:
    return _letters_of_all_scripts(normalize("NFC", text).casefold())


def _unicode_turkic(text: str) -> str:
    return _letters_of_all_scripts(normalize("NFC", text).translate(_TURKIC_CAPITALS).casefold())


def _letters_of_all_scripts(text: str) -> str:
    # Folding decomposes some letters. Without a shapeless character between them, a letter and a mark may compose.
    text = normalize("NFC", _DOTTED.sub("i", normalize("NFC", _WITHOUT_SHAPE.sub("", text))).translate(_UNICODE))
    text = _NO_LETTER.sub(" ", _JOINING.sub("", _WITHIN_WORD.sub(TUTUQ, text)))
    return _BETWEEN_UNSPACED.sub("", " ".join(text.split()))


def _galician(text: str) -> str:
    return " ".join(_undotted(_lower(text, _LETTERS)).split())


def _uzbek(text: str) -> str:
    return _with_apostrophes(_undotted(_lower(text, _LETTERS_AND_APOSTROPHES)))


def _uzbek_latin(text: str) -> str:
    return _with_apostrophes(_undotted(_in_latin(_lower(text, _LETTERS_AND_APOSTROPHES))))


def _lower(text: str, table: "CharacterTable") -> str:
    # Composed before, so that a sign and its stroke (= and U+0338) are removed together, and after, as characters
    # may then be adjacent that were not before.
    return normalize("NFC", normalize("NFC", text).translate(table)).lower()


def _undotted(text: str) -> str:
    # The lower case of İ in Python is an i and a combining dot.
    return normalize("NFC", _DOTTED.sub("i", normalize("NFC", text)))


def _in_latin(text: str) -> str:
    if not _CYRILLIC.search(text):
        return text
    for letters, spelling in _IN_CONTEXT:
        text = letters.sub(spelling, text)
    return text.translate(_LATIN)


def _with_apostrophes(text: str) -> str:
    text = _QUOTATION.sub(lambda quotation: f" {quotation[quotation.lastindex or 0]}", f" {text} ")
    return " ".join(_SIGNS.sub(_sign, text).split())


def _sign(signs: re.Match[str]) -> str:
    before = signs.string[signs.start() - 1]
    if before == " " or before.isdigit():
        return " "
    return TURNED_COMMA if before in "og" else TUTUQ


def has_word(text: str) -> bool:
    """Return whether a text contains a letter or a digit of any script."""
    return any(map(str.isalnum, text))


@dataclass(frozen=True)
class MarkChanges:
    """
    Count the words that `basic` splits at combining marks, or from which it removes them.

    Args:
        texts (`int`): The number of texts with such a word.
        words (`int`): The number of such words.
        all_words (`int`): The number of all words.
        example (`tuple[str, str]`): The first such word, before and after normalization; empty if there is none.
    """

    texts: int
    words: int
    all_words: int
    example: tuple[str, str]

    def __str__(self) -> str:
        before, after = self.example
        return (
            f"basic splits or shortens {self.words:,} of {self.all_words:,} words in {self.texts:,} texts at combining"
            f" marks, such as {before!r} into {after!r}"
        )


def mark_changes(texts: Iterable[str]) -> MarkChanges:
    """
    Count the words with combining marks, which `basic` splits or shortens, such as words of Hindi, Thai and Yoruba.

    Args:
        texts (`Iterable[str]`): The references of a corpus.
    """
    found = words = all_words = 0
    example = ("", "")
    for text in texts:
        split = text.split()
        all_words += len(split)
        marked = [] if text.isascii() else [word for word in split if _has_mark(normalize("NFKC", word.lower()))]
        words, found = words + len(marked), found + bool(marked)
        if marked and not example[0]:
            example = (marked[0], _basic(marked[0]))
    return MarkChanges(found, words, all_words, example)


def _has_mark(word: str) -> bool:
    return not word.isalnum() and any(category(char)[0] == "M" for char in word)


@dataclass(frozen=True)
class WordChanges:
    """
    Count the references whose words a normalizer changes; a reference may be counted as merged and as split.

    Args:
        merged (`int`): The number of references in which words are joined or removed.
        split (`int`): The number of references in which a word becomes several.
        emptied (`int`): The number of references without a remaining word; they are not counted as merged.
        examples (`list[tuple[str, str]]`): Examples of each kind, before and after normalization.
    """

    merged: int
    split: int
    emptied: int
    examples: list[tuple[str, str]]


def word_changes(references: Sequence[str], normalized: Sequence[str]) -> WordChanges:
    """
    Count the references whose words a normalizer joins, removes or splits.

    A word is text between spaces that contains a letter or a digit; a single dash is not a word. The word boundaries
    of both texts are compared along their longest common subsequence of letters, so that a reference in which one word
    is split and another removed counts as both.

    Args:
        references (`Sequence[str]`): The references of the corpus.
        normalized (`Sequence[str]`): The normalized references.

    Raises:
        ValueError: The two sequences have different lengths.
    """
    merged = split = emptied = 0
    examples: dict[tuple[bool, bool], list[tuple[str, str]]] = {}
    for reference, text in zip(references, normalized, strict=True):
        before, after = _words(reference), _words(text)
        if before == after:
            continue
        joins, splits = _boundaries(before, after) if after else (False, False)
        merged, split, emptied = merged + joins, split + splits, emptied + (not after)
        if (joins or splits or not after) and len(kind := examples.setdefault((joins, splits), [])) < _EXAMPLES:
            kind.append((reference, text))
    alternating = (example for kinds in zip_longest(*examples.values()) for example in kinds if example)
    return WordChanges(merged, split, emptied, list(islice(alternating, _EXAMPLES)))


def _words(text: str) -> list[str]:
    return normalize("NFC", text.lower()).translate(_BARE).split()


def _boundaries(before: list[str], after: list[str]) -> tuple[bool, bool]:
    """Return whether word boundaries or words are removed, and whether there are new boundaries."""
    old, new = ([index for index, word in enumerate(words) for _ in word] for words in (before, after))
    # The number of words by which the old text is ahead of the new one, at each common letter and at the end.
    leads = [0]
    for block in LCSseq.editops("".join(before), "".join(after)).as_matching_blocks():
        leads += [old[block.a + step] - new[block.b + step] for step in range(block.size)]
    leads.append(len(before) - len(after))
    return any(b > a for a, b in pairwise(leads)), any(b < a for a, b in pairwise(leads))


def _without_symbols(char: str) -> str:
    return " " if category(char)[0] in "MPS" else char


def _letters(char: str) -> str:
    kind = category(char)
    if kind == "Cf" or "\ufe00" <= char <= "\ufe0f":  # invisible: soft hyphens, joiners, byte order marks, variants
        return ""
    return char if kind[0] in "LN" or kind in ("Mn", "Mc") else " "


def _letters_and_joining_signs(char: str) -> str:
    if char in APOSTROPHES:
        # Apostrophes that are letters remain at the edge of a word: the Hawaiian ʻokina.
        return TUTUQ if category(char) == "Lm" else "'"
    return {"\u05f4": '"', '"': '"', "·": "·", "\u2027": "·"}.get(char) or _letters(char)


def _letters_and_apostrophes(char: str) -> str:
    return APOSTROPHES.get(char) or _letters(char)


def _bare(char: str) -> str:
    if char.isspace():
        return " "
    return char if category(char)[0] in "LN" and char not in APOSTROPHES else ""


class CharacterTable(dict[int, str]):
    """Store the replacement of each character for `str.translate`; it is computed once, on first use."""

    def __init__(self, replacement: Callable[[str], str]) -> None:
        self._replacement = replacement

    def __missing__(self, code: int) -> str:
        self[code] = self._replacement(chr(code))
        return self[code]


_NO_SYMBOLS, _LETTERS, _LETTERS_AND_APOSTROPHES, _UNICODE, _BARE = map(
    CharacterTable, (_without_symbols, _letters, _letters_and_apostrophes, _letters_and_joining_signs, _bare)
)
