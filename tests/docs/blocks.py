"""Find the code blocks and the inline code of the documentation."""

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
    Represent a fenced code block.

    Args:
        page (`str`): Path of its page from the root of the checkout.
        line (`int`): Number of its first line in the page, counted from 1.
        language (`str`): Language of the fence; empty if none is given.
        text (`str`): Text between the fences.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def lines(self) -> list[str]:
        """Return one line for each command, without comments and prompts; continued lines are joined."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return [" ".join(line.removeprefix("$ ").split()) for line in joined if line.strip() and line[0] != "#"]


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the code blocks of a page in their order: those in some languages, or all."""
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(name, token.map[0] + 2, token.info.strip(), token.content)
        for token in MarkdownIt().parse(page.read_text("utf-8"))
        if token.type == "fence" and token.map and (not languages or token.info.strip() in languages)
    ]


def inline_code(page: Path) -> list[str]:
    """Return the texts that a page shows as code within a line, including those in tables."""
    found = []
    for token in MarkdownIt().enable("table").parse(page.read_text("utf-8")):
        found += [child.content for child in token.children or () if child.type == "code_inline"]
    return found
