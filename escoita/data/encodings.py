"""Decode text files of unknown encoding, as spreadsheets, annotation tools and editors write them."""

import codecs
from pathlib import Path

from escoita.errors import CorpusError
from escoita.utils.languages import canonical, script_of_language
from escoita.utils.limits import MEBIBYTE, read_bounded


TEXT_BYTES = 64 * MEBIBYTE
# Python needs about 200 bytes for a row of a few characters. A million clips of 4 s are more than 1,000 hours.
MOST_LINES = 2_000_000
# The order matters: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The encodings in which Windows saves text, by the script of the language, and of languages with other Latin letters.
_OF_SCRIPT = {
    "Cyrl": "cp1251",
    "Grek": "cp1253",
    "Hebr": "cp1255",
    "Arab": "cp1256",
    "Thai": "cp874",
    "Hans": "gb18030",
    "Hant": "big5",
    "Jpan": "shift_jis",
    "Kore": "euc_kr",
}
_OF_LANGUAGE = {
    **dict.fromkeys("bs cs hr hsb hu pl ro sk sl sq sr szl".split(), "cp1250"),
    **dict.fromkeys("az crh gag ku tk tr".split(), "cp1254"),
    **dict.fromkeys("et lt ltg lv sgs".split(), "cp1257"),
    "vi": "cp1258",
}
_SAMPLE = 1 << 20


def read_text(path: Path, language: str | None = None, limit: int = TEXT_BYTES) -> str:
    """
    Return the text of a file in any encoding, without a byte order mark, with `\\n` as line end.

    Args:
        path (`Path`): The file.
        language (`str`, *optional*): The language of the text, which decides between old encodings.
        limit (`int`, *optional*): The largest accepted size in bytes.

    Raises:
        CorpusError: The file cannot be read, or its encoding is not recognized.
        RecordError: The file is too large, or not a regular file.
    """
    try:
        content = read_bounded(path, limit)
        return content.decode(encoding_of(content, language)).replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise CorpusError(f"cannot be read ({error.strerror})", path=path) from error
    except ValueError as error:
        raise CorpusError("not text in a known encoding", path=path, hint="save the file as UTF-8") from error


def read_lines(path: Path, language: str | None = None, limit: int = TEXT_BYTES) -> list[str]:
    """
    Return the lines of a file in any encoding, without their ends; see [`read_text`].

    Raises:
        CorpusError: The file cannot be read, its encoding is not recognized, or it has too many lines.
        RecordError: The file is too large, or not a regular file.
    """
    return lines_of(path, read_text(path, language, limit))


def lines_of(path: Path, text: str) -> list[str]:
    """
    Return the lines of a text, without their ends.

    Args:
        path (`Path`): The file, for errors.
        text (`str`): Its text.

    Raises:
        CorpusError: There are too many lines.
    """
    check_lines(path, text)
    return text.split("\n")


def check_lines(path: Path, text: str) -> None:
    """Raise a [`CorpusError`] if a text, that of the file `path`, has too many lines."""
    if (lines := text.count("\n")) > MOST_LINES:
        raise CorpusError(f"{lines:,} lines; at most {MOST_LINES:,} are read", path=path)


def encoding_of(content: bytes, language: str | None = None) -> str:
    """
    Return the Python name of the encoding of a text.

    The byte order mark decides, then whether the text is valid UTF-8 or has the zero bytes of UTF-16. Other text is in
    the encoding that Windows uses for the language; if most letters are not ASCII, in that of its script, or cp1251.

    Args:
        content (`bytes`): The text.
        language (`str`, *optional*): The language of the text.

    Raises:
        ValueError: The content is not text.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding
    if b"\0" in content[:_SAMPLE]:
        even, odd = content[:_SAMPLE:2].count(0), content[1:_SAMPLE:2].count(0)
        if not len(content) % 2 and max(even, odd) > 4 * min(even, odd):
            return "utf-16-be" if even > odd else "utf-16-le"
        raise ValueError("contains zero bytes")
    try:
        content.decode()
        return "utf-8"
    except UnicodeDecodeError:
        return _page(content, language)


def _page(content: bytes, language: str | None) -> str:
    """Return the encoding of a text that is in an encoding of one script."""
    lines = b"\n".join(line for line in content[:_SAMPLE].splitlines() if not line.isascii())
    high, low = sum(byte > 127 for byte in lines), sum(chr(byte).isalpha() for byte in lines if byte < 128)
    encoding = _OF_LANGUAGE.get(canonical(language or ""), "cp1252")
    if high > low:
        encoding = _OF_SCRIPT.get(script_of_language(language or ""), "cp1251")
    for each in (encoding, "cp1252"):
        try:
            content.decode(each)
        except UnicodeDecodeError:
            continue
        return each
    return "latin-1"
