"""Find transcripts whose text is not what was spoken: Unicode forms, invisible characters, entities, notes."""

import html
import re
from collections.abc import Callable, Iterable
from typing import get_args
from unicodedata import is_normalized, name, normalize

from escoita.data.rows import Utterances
from escoita.records.data import TextOutlierKind


TEXT_KINDS: tuple[TextOutlierKind, ...] = get_args(TextOutlierKind)

_PLACEHOLDERS = {"nan", "null", "none", "n/a", "<na>", "undefined", "#n/a"}
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")
# At most 200 characters in brackets: in a text of opening brackets, the search would take quadratic time.
_NOTE = re.compile(
    r"\[[^\[\]]{0,200}\]|\([^()]{0,200}\)|<[^<>]{0,200}>|\{[^{}]{0,200}\}|（[^（）]{0,200}）|【[^【】]{0,200}】"
)
# No-break spaces, soft hyphen, word joiner, direction marks and byte order mark.
_INVISIBLE = re.compile("[\u00a0\u00ad\u2007\u200e\u200f\u202a-\u202f\u2060-\u2064\u2066-\u2069\ufeff]")
# Zero-width space and joiners, which some scripts need: the space between words in Thai, Lao, Burmese and Khmer, the
# joiners in scripts whose letters are connected.
_ZERO_WIDTH = re.compile("[\u200b-\u200d]")
_WITHOUT_JOINERS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "GEORGIAN", "HEBREW", "HANGUL", "CJK", "ETHIOPIC")
_WITH_SPACES_OF_ZERO_WIDTH = ("THAI", "LAO", "MYANMAR", "KHMER", "TIBETAN", "CJK", "HIRAGANA", "KATAKANA")


def composed(rows: Utterances) -> tuple[Utterances, int]:
    """
    Compose the characters of transcripts (Unicode NFC), so that a model learns one spelling of each letter.

    Args:
        rows ([`~escoita.data.rows.Utterances`]): The rows of a corpus.

    Returns:
        `tuple[Utterances, int]`: The rows, and the number of transcripts that were changed.
    """
    changed = {
        index: normalize("NFC", text) for index, text in enumerate(rows.each("text")) if not is_normalized("NFC", text)
    }
    return (rows.with_texts(changed) if changed else rows), len(changed)


def text_outliers(texts: Iterable[str]) -> dict[TextOutlierKind, dict[int, str]]:
    """
    Find the transcripts of each kind of [`~escoita.records.data.TextOutlierKind`].

    Args:
        texts (`Iterable[str]`): The transcripts of a corpus.

    Returns:
        `dict[str, dict[int, str]]`: For each kind, the details by the index of the transcript.
    """
    found: dict[TextOutlierKind, dict[int, str]] = {kind: {} for kind in TEXT_KINDS}
    composed_texts = 0
    for index, text in enumerate(texts):
        for kind, detail in _DETAILS.items():
            if what := detail(text):
                found[kind][index] = what
        composed_texts += not text.isascii() and is_normalized("NFC", text) and not is_normalized("NFD", text)
    if not composed_texts and all(_only_decomposed(detail) for detail in found["unicode"].values()):
        found["unicode"] = {}  # all transcripts have the same form
    return found


def _unicode(text: str) -> str:
    if is_normalized("NFC", text):
        return ""
    return "decomposed" if is_normalized("NFD", text) else "composed and decomposed characters"


def _only_decomposed(detail: str) -> bool:
    return detail == "decomposed"


def _invisible(text: str) -> str:
    if text.isascii():
        return ""
    if match := _INVISIBLE.search(text):
        return _named(match[0])
    return next((_named(match[0]) for match in _ZERO_WIDTH.finditer(text) if not _needed(match)), "")


def _needed(match: re.Match[str]) -> bool:
    """Return whether a zero-width character stands where its script may need it."""
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    if not before or not after:
        return False
    script = name(before, "").partition(" ")[0]
    if match[0] == "\u200b":
        return script in _WITH_SPACES_OF_ZERO_WIDTH
    return before.isprintable() and not before.isspace() and script not in _WITHOUT_JOINERS


def _entity(text: str) -> str:
    if "&" not in text:
        return ""
    entities = (match[0] for match in _ENTITY.finditer(text))
    return next((entity for entity in entities if html.unescape(entity) != entity), "")


def _placeholder(text: str) -> str:
    return text.strip() if text.strip().casefold() in _PLACEHOLDERS else ""


def _note(text: str) -> str:
    match = _NOTE.search(text)
    return match[0] if match else ""


def _named(character: str) -> str:
    return f"U+{ord(character):04X}, {name(character, 'no name').lower()}"


_DETAILS: dict[TextOutlierKind, Callable[[str], str]] = {
    "unicode": _unicode,
    "invisible": _invisible,
    "entity": _entity,
    "placeholder": _placeholder,
    "note": _note,
}
