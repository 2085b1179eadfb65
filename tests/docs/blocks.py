"""Blocks of code in the documentation, as readers find them."""

from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from tests.conftest import ROOT


PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if not path.is_relative_to(ROOT / "docs/examples")
)


@dataclass(frozen=True)
class Block:
    """
    A fenced block.

    Args:
        page (`str`): Where it stands, a path from the root of the checkout.
        line (`int`): Its first line there, counted from 1.
        language (`str`): What the fence says, empty where it says nothing.
        text (`str`): What stands between the fences.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def lines(self) -> list[str]:
        """Its commands: a line each, without comments and prompts, continued ones joined."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return [" ".join(line.removeprefix("$ ").split()) for line in joined if line.strip() and line[0] != "#"]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page in one of some languages, or all; in order."""
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(name, token.map[0] + 2, token.info.strip(), token.content)
        for token in MarkdownIt().parse(page.read_text("utf-8"))
        if token.type == "fence" and token.map and (not languages or token.info.strip() in languages)
    ]


def spans(page: Path) -> list[str]:
    """What stands in a page as code within a line, in tables too."""
    found = []
    for token in MarkdownIt().enable("table").parse(page.read_text("utf-8")):
        found += [child.content for child in token.children or () if child.type == "code_inline"]
    return found
