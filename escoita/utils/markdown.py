"""Text on its way into Markdown, of a card or of a log: shown as it is, never as markup."""

import re
from urllib.parse import quote


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
