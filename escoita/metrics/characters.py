"""The characters of transcripts: which there are, which are rare, which script they are of, and which count."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

from escoita.metrics.normalizers import APOSTROPHES, CharacterTable
from escoita.records.data import Character


# Scripts by which one text is written in one language.
_ONE_SCRIPT = dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO"), "Han and kana")
# Up to so many, or this fraction of all characters, one is rare.
_RARE_COUNT, _RARE_SHARE = 3, 1e-5


def count_characters(texts: Iterable[str]) -> Counter[str]:
    """How often each character is written."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return counts


def inventory(counts: Counter[str]) -> list[Character]:
    """Every character with its Unicode name, the most frequent first: among the rare ones stray signs are found."""
    rare = max(_RARE_COUNT, _RARE_SHARE * counts.total())
    return [
        Character(
            character=character,
            count=count,
            code_point=f"U+{ord(character):04X}",
            name=unicodedata.name(character, ""),
            rare=count <= rare,
        )
        for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


@cache
def script_of(character: str) -> str:
    """
    Script of a letter, by the first word of its Unicode name: `Latin`, `Cyrillic`; empty for all that is no letter.

    Chinese characters and kana count as one, as Japanese mixes them. Signs that scripts share, such as the modifier
    letters in Uzbek, have none.
    """
    if unicodedata.category(character) not in ("Lu", "Ll", "Lt", "Lo"):
        return ""
    # Compatibility forms are of the script that they stand for: ª, ℝ, ｆ.
    word = unicodedata.name(unicodedata.normalize("NFKC", character)[0], "").partition(" ")[0]
    return _ONE_SCRIPT.get(word, word.capitalize())


def count_scripts(counts: Counter[str]) -> Counter[str]:
    """Letters of each script."""
    scripts: Counter[str] = Counter()
    for character, count in counts.items():
        if script := script_of(character):
            scripts[script] += count
    return scripts


def main_script(counts: Counter[str]) -> str:
    """Script of most letters, empty where there are none."""
    scripts = count_scripts(counts)
    return max(scripts, key=lambda script: scripts[script], default="")


def other_script(text: str, main: str) -> str:
    """The script of most letters of a text where that is not `main`, else empty."""
    script = main_script(Counter(text))
    return script if script != main else ""


def compared_form(text: str) -> str:
    """
    What is left of a transcript when it is compared: letters with their marks, and digits, in NFC and lower case.

    Apostrophes go whichever of their many signs stands there, letters or punctuation, since corpora differ in them.
    """
    return unicodedata.normalize("NFC", text.casefold()).translate(_KEPT)


def _kept(character: str) -> str:
    return character if unicodedata.category(character)[0] in "LMN" and character not in APOSTROPHES else ""


_KEPT = CharacterTable(_kept)
