"""What is done to references and hypotheses before edits are counted, and what it does to their words."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise, zip_longest
from typing import Literal, get_args
from unicodedata import category, normalize

from rapidfuzz.distance import LCSseq


Normalizer = Literal["raw", "basic", "uzbek", "uzbek-latin", "galician"]
NORMALIZERS: tuple[str, ...] = get_args(Normalizer)
# The normalizers of languages that have one of their own, by their codes in ISO 639-1 and 639-3. There is no good one
# for all other languages: `basic` removes the combining marks with which many scripts write vowels.
_OF_LANGUAGE: dict[str, Normalizer] = {
    "uz": "uzbek",
    "uzb": "uzbek",
    "uzn": "uzbek",
    "gl": "galician",
    "glg": "galician",
}

TURNED_COMMA, TUTUQ = "ʻ", "ʼ"  # U+02BB, the second half of oʻ and gʻ, and U+02BC, the glottal stop of maʼno
# What keyboards, word processors and web pages put in their place; \x91 and \x92 are Windows-1252 read as Latin-1.
_TYPED = {"'": "'ˈ׳Ꞌꞌ＇", "`": "`ˋ‵｀", "‘": "‘‛ʽʿ῾❛\x91", "’": "’´ʹʾˊ΄՚᾽᾿′❜\x92", TURNED_COMMA: "ʻ", TUTUQ: "ʼ"}
APOSTROPHES = {sign: mark for mark, signs in _TYPED.items() for sign in signs}
_ANY = "".join(_TYPED)
_SIGNS = re.compile(f"[{_ANY}]+")
_QUOTES = [("''", "''"), ("‘‘", "’’"), ("``", "['’]{2}"), ("'", "'"), ("‘", "’"), ("’", "’"), ("`", "[`'’]")]
# Of a limited length: in a text of opening signs alone, the end of each would be looked for up to the end of the text.
_QUOTED = "|".join(f"{opening}(?=[^ {_ANY}])(.{{1,2000}}?){closing}" for opening, closing in _QUOTES)
_QUOTATION = re.compile(f" (?:{_QUOTED})(?= )")

_VOWELS = "аеёиоуўэюяы"
_IN_CONTEXT = [  # in this order; what they leave is spelt letter by letter
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


def default_normalizer(language: str) -> Normalizer:
    """
    Return the normalizer of a language: its own one, or `raw` if it has none.

    Args:
        language (`str`): ISO code, lower case.
    """
    return _OF_LANGUAGE.get(language, "raw")


@cache
def normalizer(name: str) -> Callable[[str], str]:
    """
    Finds a normaliser by its name in a recipe.

    `raw` changes nothing. All others give lower case and single spaces, none at the edges, and change nothing when
    applied again (`basic` takes away the dot of a styled capital I, `ℐ̇`, only then, as Whisper's does).

    `basic` is Whisper's BasicTextNormalizer as transformers has it (Radford et al. 2022), without spaces at the
    edges: it keeps accents and ñ, splits words at apostrophes and hyphens, and drops what stands in brackets.

    `galician` composes characters (NFC) and keeps letters, accents (á, ñ, ü, ï) and digits. Everything else is a
    space, brackets, apostrophe and hyphen too: `come-lo` is two words, and what stands in brackets stays.

    `uzbek` differs in apostrophes, which Uzbek spells with. Whatever sign was typed, after `o` or `g` it is U+02BB,
    the rest of the letter, and after another letter U+02BC, the tutuq belgisi; several in a row are one. This holds
    at a word's end too (`togʻ`, `manʼ`), unless the sign closes a quotation that its like opened before a word:
    `'kino'` and `‘yo‘q’` lose theirs, `'tog''` keeps one. Where no letter precedes, it is a quotation mark: a space.
    A hyphen is a space: `asta-sekin` is two words. Cyrillic stays.

    `uzbek-latin` also spells Cyrillic in the alphabet of 1995, by the spelling rules of the same year (resolution 339
    of the Cabinet of Ministers): `е` is `ye` at the start of a word and after a vowel, `ъ` or `ь`; `ц` is `ts` after
    a vowel within a word, else `s`; `ъ` is tutuq belgisi, but nothing after `ў` or between a consonant and `е ё ю я`;
    `ь` is nothing, `ьо` `yo`, `сҳ` `sʼh`, `щ` `sh`, `ы` `i`. Words in Latin script are as with `uzbek`.

    Args:
        name (`str`): One of `NORMALIZERS`.

    Raises:
        ValueError: No normaliser has this name.
    """
    known: list[Callable[[str], str]] = [str, _basic, _uzbek, _uzbek_latin, _galician]
    if name not in NORMALIZERS:
        raise ValueError(f"no normaliser is called {name!r}; there are {', '.join(NORMALIZERS)}")
    return known[NORMALIZERS.index(name)]


def _basic(text: str) -> str:
    text = text.lower()
    # Only up to the last closing bracket: in a text of opening brackets alone, the time would grow with the square.
    if "[" in text or "<" in text:
        end = max(text.rfind("]"), text.rfind(">")) + 1
        text = _IN_BRACKETS.sub("", text[:end]) + text[end:]
    if "(" in text:
        end = text.rfind(")") + 1
        text = _IN_PARENTHESES.sub("", text[:end]) + text[end:]
    text = normalize("NFKC", text)
    # What can be printed is a letter, a digit, or something that becomes a space; Whisper keeps what cannot.
    words = _ALPHANUMERIC.findall(text) if text.isprintable() else text.translate(_NO_SYMBOLS).split()
    # Lower case again: NFKC finds capitals in symbols such as ℃ and 𝐀.
    return " ".join(words).lower()


def _galician(text: str) -> str:
    return " ".join(_undotted(_lower(text, _LETTERS)).split())


def _uzbek(text: str) -> str:
    return _spelt(_undotted(_lower(text, _LETTERS_AND_APOSTROPHES)))


def _uzbek_latin(text: str) -> str:
    return _spelt(_undotted(_in_latin(_lower(text, _LETTERS_AND_APOSTROPHES))))


def _lower(text: str, kept: "CharacterTable") -> str:
    # Composed before, so that a sign and its stroke (= and U+0338) go together; after, for what stood apart.
    return normalize("NFC", normalize("NFC", text).translate(kept)).lower()


def _undotted(text: str) -> str:
    # Python's lower case of İ is an i and a combining dot.
    return normalize("NFC", _DOTTED.sub("i", normalize("NFC", text)))


def _in_latin(text: str) -> str:
    if not _CYRILLIC.search(text):
        return text
    for letters, spelling in _IN_CONTEXT:
        text = letters.sub(spelling, text)
    return text.translate(_LATIN)


def _spelt(text: str) -> str:
    text = _QUOTATION.sub(lambda quotation: f" {quotation[quotation.lastindex or 0]}", f" {text} ")
    return " ".join(_SIGNS.sub(_sign, text).split())


def _sign(signs: re.Match[str]) -> str:
    before = signs.string[signs.start() - 1]
    if before == " " or before.isdigit():
        return " "
    return TURNED_COMMA if before in "og" else TUTUQ


@dataclass(frozen=True)
class WordChanges:
    """
    What a normaliser does to the words of references; a reference may be counted as merged and as split.

    Args:
        merged (`int`): References in which words are joined or dropped.
        split (`int`): References in which a word becomes several.
        emptied (`int`): References of which no word is left; they are not counted as merged.
        examples (`list[tuple[str, str]]`): Some of each of these, as they were and normalised.
    """

    merged: int
    split: int
    emptied: int
    examples: list[tuple[str, str]]


def word_changes(references: Sequence[str], normalised: Sequence[str]) -> WordChanges:
    """
    Counts the references whose words a normaliser joins, drops or splits.

    A word is what stands between spaces and holds a letter or a digit: a dash by itself is none. The boundaries of
    both texts are compared along the longest sequence of letters that they have in common, so that a reference in
    which one word is split and another dropped counts as both.

    Args:
        references (`Sequence[str]`): As the corpus has them.
        normalised (`Sequence[str]`): What the normaliser makes of each.

    Raises:
        ValueError: There are not as many of one as of the other.
    """
    merged = split = emptied = 0
    examples: dict[tuple[bool, bool], list[tuple[str, str]]] = {}
    for reference, text in zip(references, normalised, strict=True):
        before, after = _words(reference), _words(text)
        if before == after:
            continue
        joins, splits = _boundaries(before, after) if after else (False, False)
        merged, split, emptied = merged + joins, split + splits, emptied + (not after)
        if (joins or splits or not after) and len(kind := examples.setdefault((joins, splits), [])) < _EXAMPLES:
            kind.append((reference, text))
    in_turn = (example for some in zip_longest(*examples.values()) for example in some if example)
    return WordChanges(merged, split, emptied, list(islice(in_turn, _EXAMPLES)))


def _words(text: str) -> list[str]:
    return normalize("NFC", text.lower()).translate(_BARE).split()


def _boundaries(before: list[str], after: list[str]) -> tuple[bool, bool]:
    """Whether boundaries between words, or whole words, go missing; and whether there are new boundaries."""
    old, new = ([at for at, word in enumerate(words) for _ in word] for words in (before, after))
    # By how many words the old text is ahead of the new one, at each letter that they share, and at the end.
    leads = [0]
    for block in LCSseq.editops("".join(before), "".join(after)).as_matching_blocks():
        leads += [old[block.a + step] - new[block.b + step] for step in range(block.size)]
    leads.append(len(before) - len(after))
    return any(b > a for a, b in pairwise(leads)), any(b < a for a, b in pairwise(leads))


def _without_symbols(char: str) -> str:
    return " " if category(char)[0] in "MPS" else char


def _letters(char: str) -> str:
    kind = category(char)
    if kind == "Cf" or "\ufe00" <= char <= "\ufe0f":  # soft hyphens, joiners, byte order marks, emoji variants: unseen
        return ""
    return char if kind[0] in "LN" or kind in ("Mn", "Mc") else " "


def _letters_and_apostrophes(char: str) -> str:
    return APOSTROPHES.get(char) or _letters(char)


def _bare(char: str) -> str:
    if char.isspace():
        return " "
    return char if category(char)[0] in "LN" and char not in APOSTROPHES else ""


class CharacterTable(dict[int, str]):
    """For `str.translate`: asks once what becomes of each character."""

    def __init__(self, becomes: Callable[[str], str]) -> None:
        self._becomes = becomes

    def __missing__(self, code: int) -> str:
        self[code] = self._becomes(chr(code))
        return self[code]


_NO_SYMBOLS, _LETTERS, _LETTERS_AND_APOSTROPHES, _BARE = map(
    CharacterTable, (_without_symbols, _letters, _letters_and_apostrophes, _bare)
)
