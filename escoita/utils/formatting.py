"""Format figures and texts for terminals, logs and Markdown."""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote


def visible(text: str) -> str:
    """Return a text with invisible characters (controls, line ends, direction marks) written as `<U+XXXX>`."""
    return (
        text if text.isprintable() else "".join(f"<U+{ord(each):04X}>" if is_hidden(each) else each for each in text)
    )


# Characters of a line in a terminal; a name in a file of others may have millions.
MOST_SHOWN = 2_000


def shortened(text: str, most: int = MOST_SHOWN) -> str:
    """
    Return a text whose end is replaced by an ellipsis if it is too long for a line in a terminal.

    Args:
        text (`str`): The text.
        most (`int`, *optional*, defaults to 2,000): The number of characters that are kept.
    """
    return text if len(text) <= most else f"{text[:most]}…"


def is_hidden(character: str) -> bool:
    """Return whether a character is invisible."""
    joins = character in "\u200c\u200d"  # part of the orthography of Persian and of many Indian scripts
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and not joins


def is_unicode(text: str) -> bool:
    """Return whether a text can be stored: a name in another encoding than UTF-8 has surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


MINUS = "\N{MINUS SIGN}"


def thousands(value: int) -> str:
    """Return an integer with thousands separators."""
    return f"{value:,}"


def percent(rate: float | None) -> str:
    """Return a fraction as a percentage, and a dash for `None`."""
    return "–" if rate is None else f"{100 * rate:.2f} %"


def composition(parts: Iterable[tuple[str, float]]) -> str:
    """Return the names of parts with their shares as percentages."""
    return ", ".join(f"{name} {percent(share)}" for name, share in parts)


def interval(bounds: tuple[float, float]) -> str:
    """Return an interval of fractions as percentages."""
    return f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f} %"


def points(difference: float) -> str:
    """Return a difference of two fractions in percentage points, with its sign."""
    figure = f"{100 * difference:+.2f}".replace("-", MINUS)
    return figure[1:] if figure[1:] == "0.00" else figure


def points_interval(bounds: tuple[float, float]) -> str:
    """Return an interval of differences in percentage points."""
    return f"{points(bounds[0])} to {points(bounds[1])}"


def duration(seconds: float) -> str:
    """Return seconds as hours, or as minutes below one hour."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def time_code(seconds: float, point: str = ".") -> str:
    """
    Return a time in a recording as hours, minutes, seconds and milliseconds, as ELAN and subtitles show it.

    Args:
        seconds (`float`): The time in seconds.
        point (`str`, *optional*, defaults to `"."`): The character before the milliseconds.
    """
    whole, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{milliseconds:03}"


def gigabytes(size: int) -> str:
    """Return bytes as gigabytes (10^9 bytes)."""
    return f"{size / 1e9:.1f} GB"


def kilowatt_hours(joules: float) -> str:
    """Return joules as kilowatt-hours with three significant digits."""
    return f"{joules / 3.6e6:.3g} kWh"


def speed(factor: float) -> str:
    """Return a rate with three significant digits, and without decimals from 100 on."""
    return f"{factor:,.0f}" if factor >= 100 else f"{factor:.3g}"


def probability(p_value: float) -> str:
    """Return a p-value with three decimals."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


_MARKUP = re.compile(r"([\\`*_\[\]|<>~$&])")
# Characters that begin a heading, a rule or a list at the start of a line, unless a digit follows.
_LEADING = re.compile(r"^(\d*)([#.)=+-])(?!\d)")
# A URL in a line, without the punctuation or the bracket that follows it.
_URL = re.compile(r"https?://[^\s<>\"]*[^\s<>\"'.,;:!?()\[\]{}*`\\]")
_URL_CHARACTERS = "%/:=&?#+!$,;'@()*[]"


def line(value: object) -> str:
    """Return a value as one line of Markdown in which all markup is escaped, also for table cells."""
    return _LEADING.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", " ".join(str(value).split())))


def prose(value: object) -> str:
    """Return paragraphs of Markdown in which all markup is escaped and URLs are links."""
    paragraphs = (line(paragraph) for paragraph in re.split(r"\n\s*\n", str(value).strip()))
    return "\n\n".join(
        _URL.sub(lambda found: link(re.sub(r"\\(.)", r"\1", found[0])), paragraph) for paragraph in paragraphs
    )


def link(value: object) -> str:
    """Return a URL as a quoted Markdown link, and any other value as an escaped line."""
    address = str(value).strip()
    if not re.match(r"https?://[^/]", address):
        return line(address)
    return f"<{quote(address, safe=_URL_CHARACTERS)}>"


def linked(text: object, address: object) -> str:
    """Return a text as a Markdown link, or the text alone if the address is missing or not a web URL."""
    target = link(address or "")
    return f"[{line(text)}]({target})" if target.startswith("<") else line(text)


def fenced(text: str, language: str = "") -> str:
    """
    Return a fenced code block whose fence is longer than any run of backticks in it.

    Code cannot be escaped. A space is inserted into the start of HTML comments, so that they do not match the section
    markers of a card.
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.strip().replace('<!--', '<! --')}\n{fence}"


def code(value: object) -> str:
    """Return inline code between more backticks than it contains."""
    text = " ".join(str(value).split()) or " "
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def code_cell(value: object) -> str:
    """Return inline code for a table cell, with `|` escaped."""
    return code(value).replace("|", "\\|")
