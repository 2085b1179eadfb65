"""
The blocks of a card: what is made from records stands between marks, what a person writes stands outside.

    <!-- escoita:begin results 1f2e3d4c5b6a -->
    ...
    <!-- escoita:end results -->

The digits say what was made: where they no longer fit what stands there, a person has changed it. The last mark of a
card lists all that was made, so that what a person took out is not put back:

    <!-- escoita:made 0a1b2c3d4e5f front.license:6f5e4d3c2b1a results:1f2e3d4c5b6a -->

Who wants such a block again deletes its name from there.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from escoita.utils.limits import README_BYTES


BEGIN, END, MADE = "<!-- escoita:begin {} {} -->", "<!-- escoita:end {} -->", "<!-- escoita:made {} {} -->"
# Beyond it the Hub shows no card; in characters.
LONGEST_CARD = README_BYTES
MARK = re.compile(
    r"^<!-- escoita:(?:(?P<kind>begin|end) (?P<name>[a-z_]+)(?: (?P<digest>[0-9a-f]{12}))?"
    r"|made (?P<sum>[0-9a-f]{12}) (?P<list>[^\r\n>]*)) -->[ \t]*(?P<eol>\r?\n|\Z)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """
    A block as it stands in a card.

    Args:
        name (`str`): The section of the template.
        digest (`str`): Of the text that was made.
        text (`str`): What stands there, without the marks.
        start (`int`): Where the first mark begins in the card, in characters.
        end (`int`): Where the line of the last mark ends, its line end included.
    """

    name: str
    digest: str
    text: str
    start: int
    end: int

    @property
    def edited(self) -> bool:
        """Whether a person has changed what was made."""
        return digest(self.text) != self.digest


@dataclass(frozen=True)
class Made:
    """
    The last mark: what was made when the card was.

    Args:
        digests (`dict[str, str]`): Of each block by its name, and of each key of the front matter by `front.` and it.
        start (`int`): Where it begins in the card, in characters.
        end (`int`): Where its line ends, its line end included.
    """

    digests: dict[str, str]
    start: int
    end: int


def marked(name: str, text: str) -> str:
    """
    A text between its marks; nothing where it is blank, so that an absent fact leaves no heading.

    A line of the text that is a mark itself, as data could hold one, moves in by a blank, and is none any more.
    """
    text = MARK.sub(lambda mark: f" {mark[0]}", text.strip("\n"))
    return f"{BEGIN.format(name, digest(text))}\n{text}\n{END.format(name)}\n" if text.strip() else ""


def digest(text: str) -> str:
    """What the first mark says of the text: the beginning of its SHA-256, line ends taken alike."""
    return sha256_of(text)[:12]


def sha256_of(text: str) -> str:
    """Return the SHA-256 of a text, with line feeds as line ends and without blank lines around it."""
    return hashlib.sha256(text.replace("\r\n", "\n").strip("\n").encode()).hexdigest()


def blocks(card: str) -> list[Block]:
    """
    The blocks of a card, in their order; each name once, and none within another.

    A mark without its other half is text. So is a block of which the last mark does not tell, where there is one: a
    person may write marks too. Of two alike the true one is that which is as it was made, else the first.
    """
    opened: dict[str, re.Match[str]] = {}
    found = []
    for mark in MARK.finditer(card):
        name = mark["name"]
        if mark["kind"] == "begin" and mark["digest"]:
            opened[name] = mark
        elif mark["kind"] == "end" and not mark["digest"] and (begin := opened.pop(name, None)):
            text = re.sub(r"\r?\n\Z", "", card[begin.end() : mark.start()])
            found.append(Block(name, begin["digest"], text, begin.start(), mark.end()))
    last = made(card)
    true: list[Block] = []
    for block in sorted(found, key=lambda each: (each.edited, each.start)):
        told = last is None or last.digests.get(block.name) == block.digest
        if told and not any(block.name == other.name or _overlap(block, other) for other in true):
            true.append(block)
    return sorted(true, key=lambda block: block.start)


def made(card: str) -> Made | None:
    """The last mark of a card; one whose sum fits rather than one that only looks like it."""
    marks = [mark for mark in MARK.finditer(card) if mark["sum"]]
    if not marks:
        return None
    mark = max(marks, key=lambda each: (digest(each["list"]) == each["sum"], each.start()))
    entries = (entry.rpartition(":") for entry in mark["list"].split())
    return Made({name: value for name, _, value in entries}, mark.start(), mark.end())


def made_mark(digests: Mapping[str, str]) -> str:
    """The last mark, without a line end."""
    listed = " ".join(f"{name}:{value}" for name, value in digests.items())
    return MADE.format(digest(listed), listed)


def _overlap(one: Block, other: Block) -> bool:
    return one.start < other.end and other.start < one.end
