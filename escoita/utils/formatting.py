"""Format figures and texts for terminals, logs and Markdown."""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote


def visible(text: str) -> str:
    """The text, in which what cannot be seen is spelt out: control characters, line ends, marks of direction."""
    return (
        text if text.isprintable() else "".join(f"<U+{ord(each):04X}>" if is_hidden(each) else each for each in text)
    )


def is_hidden(character: str) -> bool:
    """Whether nothing is to be seen of a character, though it may do something."""
    joins = character in "\u200c\u200d"  # as Persian and many scripts of India write
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and not joins


MINUS = "\N{MINUS SIGN}"


def thousands(value: int) -> str:
    """An integer with separators."""
    return f"{value:,}"


def percent(rate: float | None) -> str:
    """A fraction as percent; a dash where it was not measured."""
    return "–" if rate is None else f"{100 * rate:.2f} %"


def composition(parts: Iterable[tuple[str, float]]) -> str:
    """Of what a whole is made: each part with its share."""
    return ", ".join(f"{name} {percent(share)}" for name, share in parts)


def interval(bounds: tuple[float, float]) -> str:
    """Two fractions as percent."""
    return f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f} %"


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    figure = f"{100 * difference:+.2f}".replace("-", MINUS)
    return figure[1:] if figure[1:] == "0.00" else figure


def points_interval(bounds: tuple[float, float]) -> str:
    """Two such differences."""
    return f"{points(bounds[0])} to {points(bounds[1])}"


def duration(seconds: float) -> str:
    """Seconds as people say them: hours from one on, else minutes."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def gigabytes(size: int) -> str:
    """Bytes in billions."""
    return f"{size / 1e9:.1f} GB"


def kilowatt_hours(joules: float) -> str:
    """Energy as it is paid for, to three figures."""
    return f"{joules / 3.6e6:.3g} kWh"


def speed(factor: float) -> str:
    """How many times as fast as real time, or how many in a second: three figures, or all before the point."""
    return f"{factor:,.0f}" if factor >= 100 else f"{factor:.3g}"


def probability(p_value: float) -> str:
    """A p-value."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


_MARKUP = re.compile(r"([\\`*_\[\]|<>~$&])")
# What makes a heading, a rule or a list of a line, but only where it begins one, and no figure does.
_LEADING = re.compile(r"^(\d*)([#.)=+-])(?!\d)")
# A web address in a line, without the sign that ends a sentence or a bracket around it.
_ADDRESS = re.compile(r"https?://[^\s<>\"]*[^\s<>\"'.,;:!?()\[\]{}*`\\]")
_OF_ADDRESSES = "%/:=&?#+!$,;'@()*[]"


def line(value: object) -> str:
    """One line in which nothing is markup; fit for a cell of a table too."""
    return _LEADING.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", " ".join(str(value).split())))


def prose(value: object) -> str:
    """Paragraphs in which nothing is markup, but web addresses are links: an escaped `_` would lead elsewhere."""
    paragraphs = (line(paragraph) for paragraph in re.split(r"\n\s*\n", str(value).strip()))
    return "\n\n".join(
        _ADDRESS.sub(lambda found: link(re.sub(r"\\(.)", r"\1", found[0])), paragraph) for paragraph in paragraphs
    )


def link(value: object) -> str:
    """A web address as a link, quoted so that it cannot end before its time; anything else as it is."""
    address = str(value).strip()
    if not re.match(r"https?://[^/]", address):
        return line(address)
    return f"<{quote(address, safe=_OF_ADDRESSES)}>"


def linked(text: object, address: object) -> str:
    """A text that leads to a web address; the text alone where there is none, or none that a browser would open."""
    target = link(address or "")
    return f"[{line(text)}]({target})" if target.startswith("<") else line(text)


def fenced(text: str, language: str = "") -> str:
    """
    Lines of code as they are, between fences of more backticks than they hold.

    Within code nothing can be escaped: the beginning of a comment gets a blank, so that it cannot pass for the mark of
    a block of the card.
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.strip().replace('<!--', '<! --')}\n{fence}"


def code(value: object) -> str:
    """Inline code, fenced by more backticks than it holds."""
    text = " ".join(str(value).split()) or " "
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def code_cell(value: object) -> str:
    """Inline code in a table, where `|` would end the cell even within backticks."""
    return code(value).replace("|", "\\|")
