"""Write the front matter of a card and its marked blocks, and keep what a person wrote."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.utils import yaml_dump

from escoita.errors import PublishError
from escoita.utils.limits import README_BYTES
from escoita.utils.untrusted import read_yaml


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


BOM = "\ufeff"


@dataclass(frozen=True)
class Key:
    """
    A key of the front matter, where it stands.

    Args:
        name (`str`): The key.
        value (`Any`): What it says.
        start (`int`): Where the key begins in the front matter, in characters.
        end (`int`): Where its value ends; a comment behind it comes after.
    """

    name: str
    value: Any
    start: int
    end: int


@dataclass(frozen=True)
class Conflict:
    """
    A person's change to what is made.

    Args:
        where (`str`): The block or the key.
        theirs (`str`): What stands there.
        ours (`str`): What would be written.
    """

    where: str
    theirs: str
    ours: str


def split(card: str) -> tuple[str, str, str]:
    """
    Cuts a card as the Hub does.

    Returns:
        `tuple[str, str, str]`: What opens the front matter, the front matter, and the rest with what closes it; the
            first two are empty where there is none.
    """
    bom = BOM if card.startswith(BOM) else ""
    found = REGEX_YAML_BLOCK.match(card[len(bom) :])
    if not found:
        return "", "", card
    return bom + found[1], found[2], card[len(bom) + found.end(2) :]


def keys(front: str) -> list[Key]:
    """
    The keys of a front matter, in their order.

    Raises:
        PublishError: It is not YAML, or no mapping with a key on each line.
    """
    try:
        values, tree = read_yaml(front)
    except yaml.YAMLError as error:
        raise PublishError(f"README.md: its front matter is not YAML: {' '.join(str(error).split())}") from error
    if tree is None:
        return []
    if not isinstance(tree, yaml.MappingNode) or tree.flow_style or len(values) != len(tree.value):
        raise PublishError("README.md: its front matter must be a mapping, each key once and on a line of its own")
    places = [(key.value, key.start_mark.index, _end(value)) for key, value in tree.value]
    return [
        Key(name, value, start, start + len(front[start:end].rstrip()))
        for (name, start, end), value in zip(places, values.values(), strict=True)
    ]


def key_digest(value: Any) -> str:
    """
    Of a value, however it is written: `gl` and a list of `gl` alone are the same, as the Hub's editor has it, and so
    are 1.0 and 1, which JavaScript cannot tell apart.
    """
    return digest(key_text(value))


def key_text(value: Any) -> str:
    """Return the text of a value from which digests are made; see [`key_digest`]."""
    plain = value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else value
    return json.dumps(_whole(plain), sort_keys=True, default=str)


def front_digests(front: str) -> dict[str, str]:
    """What the last mark says of a generated front matter."""
    return {f"front.{key.name}": key_digest(key.value) for key in keys(front)}


def merge(
    existing: str, new: str, told: Mapping[str, str], force: bool, line_end: str = "\n"
) -> tuple[str, list[Conflict]]:
    """
    Puts generated keys into a front matter.

    A key that was not made before and says something else than ours, or was made and then changed, is a conflict. Tags
    are none: those of a person stay beside ours, and one of ours that they took out comes back only when ours become
    others. A key that a person took out stays out.

    Args:
        existing (`str`): As it stands, without its `---`.
        new (`str`): As it is generated.
        told (`Mapping[str, str]`): What the last mark of the card says was made.
        force (`bool`): Ours is written in spite of a conflict.
        line_end (`str`, *optional*): Of the card.

    Returns:
        `tuple[str, list[Conflict]]`: The front matter, and what stands in its way.

    Raises:
        PublishError: One of them cannot be read, or cannot be written without changing what a person wrote.
    """
    ours, there = {key.name: key for key in keys(new)}, keys(existing)
    conflicts, expected, edits = [], {key.name: key.value for key in there}, []
    indent = " " * (there[0].start - existing.rfind("\n", 0, there[0].start) - 1) if there else ""
    for key in there:
        untouched = told.get(f"front.{key.name}") == key_digest(key.value)
        if key.name not in ours:
            if untouched:
                edits.append((key.start, _next_line(existing, key.end), ""))
                del expected[key.name]
            continue
        standing, value = existing[key.start : key.end], ours[key.name].value
        if key.name == "tags" and not untouched:
            if told.get("front.tags") == key_digest(value):
                continue
            value = _tags(key.value, value)
        if key_digest(value) == key_digest(key.value):
            continue
        text = _more_tags(standing, key.value, value, line_end) if key.name == "tags" and not untouched else ""
        text = text or _written(key.name, value, line_end + indent)
        changed = key.name != "tags" and not untouched
        if (changed or (not text.startswith(standing) and _commented(standing, key))) and not force:
            conflicts.append(Conflict(f"{key.name} of the front matter", standing, text))
        edits.append((key.start, key.end, text))
        expected[key.name] = value
    merged = existing
    for start, end, text in reversed(edits):
        merged = merged[:start] + text + merged[end:]
    for name in [name for name in ours if name not in expected and f"front.{name}" not in told]:
        gap = line_end if merged.strip() and not merged.endswith("\n") else ""
        merged += gap + indent + _written(name, ours[name].value, line_end + indent)
        expected[name] = ours[name].value
    if {key.name: key.value for key in keys(merged)} != expected:
        raise PublishError("README.md: its front matter cannot be revised without changing what a person wrote there")
    return merged, conflicts


def _whole(value: Any) -> Any:
    """A value with its whole numbers as integers."""
    if isinstance(value, dict):
        # JSON sorts names of one type alone, and knows no dates as names.
        return {name if isinstance(name, str) else str(name): _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _tags(theirs: Any, ours: Any) -> list[Any]:
    """A person's tags, and those of ours that are not among them."""
    theirs, ours = (each if isinstance(each, list) else [each] * (each is not None) for each in (theirs, ours))
    return [*theirs, *(tag for tag in ours if tag not in theirs)]


def _more_tags(standing: str, theirs: Any, tags: list[Any], line_end: str) -> str:
    """A list in lines with some more at its end, so that a person's order and comments stay; else nothing."""
    dash = re.match(r"[ \t]*- +", standing.splitlines()[-1])
    if not dash or not isinstance(theirs, list):
        return ""
    lines = (yaml_dump([tag]).strip().removeprefix("- ") for tag in tags[len(theirs) :])
    return standing + "".join(f"{line_end}{dash[0]}{line}" for line in lines)


def _written(name: str, value: Any, line_end: str) -> str:
    """A key as the front matter of a new card says it."""
    return str(yaml_dump({name: value}, sort_keys=False)).strip().replace("\n", line_end)


def _commented(standing: str, key: Key) -> bool:
    """Whether a person may have put a comment into a value of ours."""
    plain = " ".join(standing.split()) == " ".join(_written(key.name, key.value, "\n").split())
    return not plain and bool(re.search(r"\s#", standing))


def _end(node: yaml.Node) -> int:
    """Where a value ends; a collection in lines would else reach up to the next key, over comments between."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _next_line(text: str, at: int) -> int:
    """The beginning of the next line where nothing but blanks is left on this one; else the place itself."""
    rest = re.compile(r"[ \t]*(\r?\n|\Z)").match(text, at)
    return rest.end() if rest else at
