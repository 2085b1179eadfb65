"""Read and write the front matter and the marked blocks of a card, and keep edits by hand."""

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
# The Hub does not show a longer card; in characters.
LONGEST_CARD = README_BYTES
MARK = re.compile(
    r"^<!-- escoita:(?:(?P<kind>begin|end) (?P<name>[a-z_]+)(?: (?P<digest>[0-9a-f]{12}))?"
    r"|made (?P<sum>[0-9a-f]{12}) (?P<list>[^\r\n>]*)) -->[ \t]*(?P<eol>\r?\n|\Z)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """
    Represent a block in a card.

    Args:
        name (`str`): Name of the section in the template.
        digest (`str`): Digest of the generated text.
        text (`str`): Current text without the marks.
        start (`int`): Position of the first mark in the card, in characters.
        end (`int`): End of the line of the last mark, with its line end.
    """

    name: str
    digest: str
    text: str
    start: int
    end: int

    @property
    def edited(self) -> bool:
        """Return whether the text was edited by hand."""
        return digest(self.text) != self.digest


@dataclass(frozen=True)
class Made:
    """
    Represent the last mark of a card, which lists the generated content.

    Args:
        digests (`dict[str, str]`): Digests of the blocks by name, and of the keys of the front matter by `front.NAME`.
        start (`int`): Position in the card, in characters.
        end (`int`): End of its line, with the line end.
    """

    digests: dict[str, str]
    start: int
    end: int


def marked(name: str, text: str) -> str:
    """
    Return a text between its marks; empty for a blank text, so that a missing value leaves no heading.

    A line of the text that is a mark itself is indented by a space, so that it is no mark anymore.
    """
    text = MARK.sub(lambda mark: f" {mark[0]}", text.strip("\n"))
    return f"{BEGIN.format(name, digest(text))}\n{text}\n{END.format(name)}\n" if text.strip() else ""


def digest(text: str) -> str:
    """Return the digest in the first mark: the beginning of the SHA-256 of the text, with normalized line ends."""
    return sha256_of(text)[:12]


def sha256_of(text: str) -> str:
    """Return the SHA-256 of a text, with line feeds as line ends and without blank lines around it."""
    return hashlib.sha256(text.replace("\r\n", "\n").strip("\n").encode()).hexdigest()


def blocks(card: str) -> list[Block]:
    """
    Return the blocks of a card in their order; each name occurs once, and no block is inside of another.

    A mark without its counterpart is text. If there is a last mark, a block that it does not list is text too, since
    an author may write marks. Of two blocks with the same name, the unedited one is used, or else the first.
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
    accepted: list[Block] = []
    for block in sorted(found, key=lambda each: (each.edited, each.start)):
        listed = last is None or last.digests.get(block.name) == block.digest
        if listed and not any(block.name == other.name or _overlap(block, other) for other in accepted):
            accepted.append(block)
    return sorted(accepted, key=lambda block: block.start)


def made(card: str) -> Made | None:
    """Return the last mark of a card; a mark with a correct checksum takes precedence."""
    marks = [mark for mark in MARK.finditer(card) if mark["sum"]]
    if not marks:
        return None
    mark = max(marks, key=lambda each: (digest(each["list"]) == each["sum"], each.start()))
    entries = (entry.rpartition(":") for entry in mark["list"].split())
    return Made({name: value for name, _, value in entries}, mark.start(), mark.end())


def made_mark(digests: Mapping[str, str]) -> str:
    """Write the last mark, without a line end."""
    listed = " ".join(f"{name}:{value}" for name, value in digests.items())
    return MADE.format(digest(listed), listed)


def _overlap(one: Block, other: Block) -> bool:
    return one.start < other.end and other.start < one.end


BOM = "\ufeff"


@dataclass(frozen=True)
class Key:
    """
    Represent a key of the front matter with its position.

    Args:
        name (`str`): Name of the key.
        value (`Any`): Parsed value.
        start (`int`): Position of the key in the front matter, in characters.
        end (`int`): End of its value, before a comment.
    """

    name: str
    value: Any
    start: int
    end: int


@dataclass(frozen=True)
class Conflict:
    """
    Represent an edit by hand in generated content.

    Args:
        where (`str`): Section or key.
        theirs (`str`): Current text.
        ours (`str`): Generated text.
    """

    where: str
    theirs: str
    ours: str


def split(card: str) -> tuple[str, str, str]:
    """
    Split a card as the Hub does.

    Returns:
        `tuple[str, str, str]`: Opening line of the front matter, the front matter, and the rest with its closing line;
            the first two are empty if there is no front matter.
    """
    bom = BOM if card.startswith(BOM) else ""
    found = REGEX_YAML_BLOCK.match(card[len(bom) :])
    if not found:
        return "", "", card
    return bom + found[1], found[2], card[len(bom) + found.end(2) :]


def keys(front: str) -> list[Key]:
    """
    Return the keys of a front matter in their order.

    Raises:
        PublishError: The front matter is not YAML, or not a mapping with one key on each line.
    """
    try:
        values, tree = read_yaml(front)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise PublishError(f"the front matter is not valid YAML ({reason})", path="README.md") from error
    if tree is None:
        return []
    if not isinstance(tree, yaml.MappingNode) or tree.flow_style or len(values) != len(tree.value):
        raise PublishError(
            "expected a mapping in the front matter, with each key once and on its own line", path="README.md"
        )
    places = [(key.value, key.start_mark.index, _end(value)) for key, value in tree.value]
    return [
        Key(name, value, start, start + len(front[start:end].rstrip()))
        for (name, start, end), value in zip(places, values.values(), strict=True)
    ]


def key_digest(value: Any) -> str:
    """
    Return the digest of a value, independent of its notation: `gl` and a list with only `gl` are equal, since the
    Hub's editor writes either, and so are 1.0 and 1, which JavaScript does not distinguish.
    """
    return digest(key_text(value))


def key_text(value: Any) -> str:
    """Return the text of a value from which digests are made; see [`key_digest`]."""
    plain = value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else value
    return json.dumps(_with_integers(plain), sort_keys=True, default=str)


def front_digests(front: str) -> dict[str, str]:
    """Return the digests of a generated front matter for the last mark."""
    return {f"front.{key.name}": key_digest(key.value) for key in keys(front)}


def merge(
    existing: str, new: str, recorded: Mapping[str, str], force: bool, line_end: str = "\n"
) -> tuple[str, list[Conflict]]:
    """
    Merge generated keys into a front matter.

    A key is a conflict if it was written by hand with another value, or was generated and then edited. Tags are no
    conflict: the author's tags are kept together with the generated ones, and a removed generated tag returns only if
    the generated tags change. A key that was removed by hand stays removed.

    Args:
        existing (`str`): Existing front matter without its `---`.
        new (`str`): Generated front matter.
        recorded (`Mapping[str, str]`): Digests in the last mark of the card.
        force (`bool`): Whether conflicts are overwritten.
        line_end (`str`, *optional*): Line end of the card.

    Returns:
        `tuple[str, list[Conflict]]`: Merged front matter, and the conflicts.

    Raises:
        PublishError: A front matter cannot be read, or cannot be written without changing text of the author.
    """
    ours, present = {key.name: key for key in keys(new)}, keys(existing)
    conflicts, expected, edits = [], {key.name: key.value for key in present}, []
    indent = " " * (present[0].start - existing.rfind("\n", 0, present[0].start) - 1) if present else ""
    for key in present:
        unedited = recorded.get(f"front.{key.name}") == key_digest(key.value)
        if key.name not in ours:
            if unedited:
                edits.append((key.start, _next_line(existing, key.end), ""))
                del expected[key.name]
            continue
        current, value = existing[key.start : key.end], ours[key.name].value
        if key.name == "tags" and not unedited:
            if recorded.get("front.tags") == key_digest(value):
                continue
            value = _tags(key.value, value)
        if key_digest(value) == key_digest(key.value):
            continue
        text = _more_tags(current, key.value, value, line_end) if key.name == "tags" and not unedited else ""
        text = text or _written(key.name, value, line_end + indent)
        changed = key.name != "tags" and not unedited
        if (changed or (not text.startswith(current) and _commented(current, key))) and not force:
            conflicts.append(Conflict(f"{key.name} of the front matter", current, text))
        edits.append((key.start, key.end, text))
        expected[key.name] = value
    merged = existing
    for start, end, text in reversed(edits):
        merged = merged[:start] + text + merged[end:]
    for name in [name for name in ours if name not in expected and f"front.{name}" not in recorded]:
        gap = line_end if merged.strip() and not merged.endswith("\n") else ""
        merged += gap + indent + _written(name, ours[name].value, line_end + indent)
        expected[name] = ours[name].value
    if {key.name: key.value for key in keys(merged)} != expected:
        raise PublishError(
            "the front matter cannot be updated without changing text that was written by hand", path="README.md"
        )
    return merged, conflicts


def _with_integers(value: Any) -> Any:
    """Return a value in which floats without a fraction are integers."""
    if isinstance(value, dict):
        # JSON sorts names of one type only, and dates cannot be names.
        return {name if isinstance(name, str) else str(name): _with_integers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_integers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _tags(theirs: Any, ours: Any) -> list[Any]:
    """Return the author's tags, followed by the generated tags that are not among them."""
    theirs, ours = (each if isinstance(each, list) else [each] * (each is not None) for each in (theirs, ours))
    return [*theirs, *(tag for tag in ours if tag not in theirs)]


def _more_tags(current: str, theirs: Any, tags: list[Any], line_end: str) -> str:
    """Append tags to a block list, which keeps its order and comments; empty for another notation."""
    dash = re.match(r"[ \t]*- +", current.splitlines()[-1])
    if not dash or not isinstance(theirs, list):
        return ""
    lines = (yaml_dump([tag]).strip().removeprefix("- ") for tag in tags[len(theirs) :])
    return current + "".join(f"{line_end}{dash[0]}{line}" for line in lines)


def _written(name: str, value: Any, line_end: str) -> str:
    """Write a key as in the front matter of a new card."""
    return str(yaml_dump({name: value}, sort_keys=False)).strip().replace("\n", line_end)


def _commented(current: str, key: Key) -> bool:
    """Return whether a generated value may hold a comment of the author."""
    plain = " ".join(current.split()) == " ".join(_written(key.name, key.value, "\n").split())
    return not plain and bool(re.search(r"\s#", current))


def _end(node: yaml.Node) -> int:
    """Return the end of a value. A block collection ends with its last member, before any comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _next_line(text: str, at: int) -> int:
    """Return the start of the next line if only blanks are left on this one, or else the position itself."""
    rest = re.compile(r"[ \t]*(\r?\n|\Z)").match(text, at)
    return rest.end() if rest else at
