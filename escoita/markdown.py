"""Text on its way into Markdown, of a card or of a log: shown as it is, never as markup."""

import re
from urllib.parse import quote


_MARKUP = re.compile(r"([\\`*_\[\]|<>~$&])")
# What makes a heading, a rule or a list of a line, but only where it begins one.
_LEADING = re.compile(r"^(\d*)([#.)=+-])")
_OF_ADDRESSES = "%/:=&?#+!$,;'@()*[]"


def line(value: object) -> str:
    """One line in which nothing is markup; fit for a cell of a table too."""
    return _LEADING.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", " ".join(str(value).split())))


def prose(value: object) -> str:
    """Paragraphs in which nothing is markup."""
    return "\n\n".join(line(paragraph) for paragraph in re.split(r"\n\s*\n", str(value).strip()))


def link(value: object) -> str:
    """A web address as a link, quoted so that it cannot end before its time; anything else as it is."""
    address = str(value).strip()
    if not re.match(r"https?://[^/]", address):
        return line(address)
    return f"<{quote(address, safe=_OF_ADDRESSES)}>"


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
