"""Count the characters of transcripts, find their scripts, and define the form in which transcripts are compared."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

from escoita.metrics.normalizers import APOSTROPHES, CharacterTable
from escoita.records.data import Character


# Scripts that one language mixes in a text.
_ONE_SCRIPT = dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO"), "Han and kana")
# The largest count, or else fraction of all characters, of a rare character.
_RARE_COUNT, _RARE_SHARE = 3, 1e-5


def count_characters(texts: Iterable[str]) -> Counter[str]:
    """Count each character."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return counts


def inventory(counts: Counter[str]) -> list[Character]:
    """Return every character with its Unicode name, the most frequent first; errors are often among the rare ones."""
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
    Return the script of a letter, the first word of its Unicode name, such as `Latin`; empty if it is not a letter.

    Chinese characters and kana count as one script, as Japanese mixes them. Characters that scripts share, such as the
    modifier letters in Uzbek, have no script.
    """
    if unicodedata.category(character) not in ("Lu", "Ll", "Lt", "Lo"):
        return ""
    # Compatibility forms have the script of the letter that they represent: ª, ℝ, ｆ.
    word = unicodedata.name(unicodedata.normalize("NFKC", character)[0], "").partition(" ")[0]
    return _ONE_SCRIPT.get(word, word.capitalize())


def count_scripts(counts: Counter[str]) -> Counter[str]:
    """Count the letters of each script."""
    scripts: Counter[str] = Counter()
    for character, count in counts.items():
        if script := script_of(character):
            scripts[script] += count
    return scripts


def main_script(counts: Counter[str]) -> str:
    """Return the script of most letters; empty if there are no letters."""
    scripts = count_scripts(counts)
    return max(scripts, key=lambda script: scripts[script], default="")


def other_script(text: str, main: str) -> str:
    """Return the script of most letters of a text if it is not `main`, else an empty string."""
    script = main_script(Counter(text))
    return script if script != main else ""


def compared_form(text: str) -> str:
    """
    Return the form in which a transcript is compared: letters with their marks, and digits, in NFC and lower case.

    All apostrophes are removed, whether they are letters or punctuation, since corpora differ in them.
    """
    return unicodedata.normalize("NFC", text.casefold()).translate(_COMPARED)


def _compared_character(character: str) -> str:
    return character if unicodedata.category(character)[0] in "LMN" and character not in APOSTROPHES else ""


_COMPARED = CharacterTable(_compared_character)
