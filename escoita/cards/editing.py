"""Merge generated sections into an existing card, and keep all text that was written by hand."""

import difflib
from collections.abc import Callable
from pathlib import Path

from escoita.cards.front_matter import (
    BEGIN,
    BOM,
    END,
    Block,
    Conflict,
    blocks,
    digest,
    front_digests,
    key_digest,
    keys,
    made,
    made_mark,
    merge,
    split,
)
from escoita.errors import PublishError
from escoita.utils.formatting import visible


CARD = "README.md"


class CardConflict(PublishError):
    """
    Report that edits by hand in generated sections or keys would be lost; the text shows them as a diff.

    Args:
        conflicts (`list[Conflict]`): The edited sections and keys with their generated content.
    """

    problem = "generated content was edited by hand"
    hint = "add --force to overwrite it"
    conflicts: list[Conflict]

    def __str__(self) -> str:
        lines = [line for conflict in self.conflicts for line in _difference(conflict)]
        return "\n".join([super().__str__(), *lines])


class DivergedCards(CardConflict):
    """Report that the card of the run and the card on the Hub have different edits by hand."""

    problem = "the card of the run and the card on the Hub have different edits by hand"
    hint = "copy the edits from the Hub into the card of the run, or add --force to publish the card of the run"


def sealed(card: str) -> str:
    """
    Return a new card with its last mark, which lists the generated blocks and keys of the front matter.

    Raises:
        PublishError: The front matter cannot be read.
    """
    if made(card):
        return card
    digests = front_digests(split(card)[1]) | {block.name: block.digest for block in blocks(card)}
    return f"{card.rstrip()}\n\n{made_mark(digests)}\n"


def revise(existing: str, new: str, force: bool = False) -> str:
    """
    Merge a new card into an existing card.

    Blocks are replaced at their positions, and blocks that are no longer generated are removed. A new block is
    inserted after the block that it follows in the new card. A block or key that was removed by hand stays removed. A
    card without marks was not written by escoita: it keeps its text, and the blocks are appended.

    Args:
        existing (`str`): Existing card with its line ends; empty if there is none.
        new (`str`): New card from [`~escoita.cards.build.build_card`].
        force (`bool`, *optional*, defaults to `False`): Whether edits by hand in generated content are overwritten.

    Returns:
        `str`: Merged card; all text outside of generated content is that of `existing`.

    Raises:
        CardConflict: A block or a generated key was edited by hand.
        PublishError: The front matter of the card cannot be read.
    """
    new = sealed(new)
    if not existing.removeprefix(BOM).strip():
        return new
    last = made(existing)
    recorded = last.digests if last else {}
    line_end = "\r\n" if "\r\n" in existing[: existing.find("\n") + 1] else "\n"
    opening, front, rest = split(existing)
    front_of_new = split(new)[1]
    merged, conflicts = merge(front, front_of_new, recorded, force, line_end)
    body, more = _revise_blocks(rest, new, recorded, force, line_end)
    if (conflicts or more) and not force:
        raise CardConflict(path=CARD, conflicts=[*conflicts, *more])
    if not opening and merged:
        opening = (BOM if body.startswith(BOM) else "") + f"---{line_end}"
        body = f"{line_end}---{line_end}{body.removeprefix(BOM)}"
    present = {block.name for block in blocks(existing)} | {f"front.{key.name}" for key in keys(front)}
    removed = {name: value for name, value in recorded.items() if name not in present}
    return opening + merged + _with_mark(body, removed | made_digests(new), line_end)


def combine(local: str, published: str, new: str, force: bool = False) -> str:
    """
    Return the card to publish from the card of the run and the card on the Hub, which may both have edits by hand.

    The card that has all edits of the other one is revised: edits in the run reach the first publication, and edits on
    the Hub are kept when the run is published again.

    Args:
        local (`str`): `README.md` of the run; empty if there is none.
        published (`str`): Card on the Hub; empty if there is none.
        new (`str`): New card for the Hub.
        force (`bool`, *optional*, defaults to `False`): Whether the card of the run is used if both cards have
            different edits, and edits in generated content are overwritten.

    Raises:
        CardConflict: See [`revise`].
        DivergedCards: Each card has edits that the other one lacks.
        PublishError: See [`revise`].
    """
    local_edits, published_edits = manual_edits(local), manual_edits(published)
    if _contains(published_edits, local_edits):
        return revise(published, new, force)
    if _contains(local_edits, published_edits) or force:
        return revise(local, new, force)
    conflict = Conflict("the card on the Hub", "\n".join(published_edits), "\n".join(local_edits))
    raise DivergedCards(path=CARD, conflicts=[conflict])


def reviser(local: str = "", force: bool = False) -> Callable[[str, str], str]:
    """Return the function that a commit calls: [`combine`] for a card with blocks; other cards are unchanged."""
    return lambda published, new: combine(local, published, new, force) if blocks(new) else new


def existing_card(path: Path) -> str:
    """
    Read a card with its line ends; empty if there is no file.

    Raises:
        PublishError: The file is not UTF-8.
    """
    try:
        return path.read_bytes().decode() if path.is_file() else ""
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 ({error.reason} at byte {error.start})"
        raise PublishError(problem, path=path, hint="save the file as UTF-8") from error


def manual_edits(card: str) -> list[str]:
    """Return the edits by hand: keys of the front matter, lines, and changed or removed blocks; no blank lines."""
    last = made(card)
    recorded = last.digests if last else {}
    _, front, rest = split(card)
    present, front_keys = blocks(rest), keys(front)
    names = {block.name for block in present} | {f"front.{key.name}" for key in front_keys}
    lines = [f"(without {name})" for name in recorded if name not in names]
    for key in front_keys:
        if recorded.get(f"front.{key.name}") != key_digest(key.value):
            lines += [line.strip() for line in front[key.start : key.end].splitlines()]
    for block in reversed(present):
        rest = rest[: block.start] + (block.text if block.edited else "") + "\n" + rest[block.end :]
    if seal := made(rest):
        rest = rest[: seal.start] + rest[seal.end :]
    return lines + [line.strip() for line in rest.splitlines() if line.strip() not in ("", "---", BOM)]


def made_digests(card: str) -> dict[str, str]:
    """Return the digests in the last mark of a sealed card."""
    last = made(card)
    return last.digests if last else {}


def _revise_blocks(
    rest: str, new: str, recorded: dict[str, str], force: bool, line_end: str
) -> tuple[str, list[Conflict]]:
    generated = {block.name: block for block in blocks(new)}
    present = {block.name: block for block in blocks(rest)}
    conflicts: list[Conflict] = []
    edits: list[tuple[int, int, str]] = []
    for name, block in present.items():
        text = generated[name].text if name in generated else ""
        if block.edited and digest(block.text) != digest(text) and not force:
            conflicts.append(Conflict(f"section {name}", block.text, text))
        if name not in generated:
            edits.append((block.start, block.end, ""))
        elif digest(text) != digest(block.text) or block.digest != generated[name].digest:
            close = line_end if rest[: block.end].endswith("\n") else ""
            edits.append((block.start, block.end, _marked(generated[name], line_end) + close))
    edits += _insertions(rest, list(generated.values()), present, recorded, line_end)
    # From the end, so that positions stay valid; at the same position, an insertion comes before a replacement.
    for begin, end, written in sorted(edits, key=lambda edit: edit[0], reverse=True):
        rest = rest[:begin] + written + rest[end:]
    return rest, conflicts


def _insertions(
    rest: str, generated: list[Block], present: dict[str, Block], recorded: dict[str, str], line_end: str
) -> list[tuple[int, int, str]]:
    """Return the edits that insert new blocks: after the previous block, before the first one, or at the end."""
    first = next((present[block.name] for block in generated if block.name in present), None)
    seal = made(rest)
    at, gap_before, gap_after = seal.start if seal else len(rest), line_end, line_end if seal else ""
    if first:
        at, gap_before, gap_after = first.start, "", line_end
    places: dict[int, str] = {}
    for block in generated:
        if block.name in present:
            at, gap_before, gap_after = present[block.name].end, line_end, ""
        elif block.name not in recorded:
            open_line = rest[:at] and not rest[:at].endswith("\n") and at not in places
            gap = (line_end if open_line else "") + (gap_before if rest[:at].strip() or at in places else "")
            places[at] = places.get(at, "") + gap + _marked(block, line_end) + line_end + gap_after
    return [(place, place, text) for place, text in places.items()]


def _marked(block: Block, line_end: str) -> str:
    text = f"{BEGIN.format(block.name, block.digest)}\n{block.text}\n{END.format(block.name)}"
    return text.replace("\r\n", "\n").replace("\n", line_end)


def _with_mark(body: str, digests: dict[str, str], line_end: str) -> str:
    """Return the body with the last mark in the position of the old one, or at the end."""
    mark = made_mark(digests)
    if old := made(body):
        end = line_end if body[: old.end].endswith("\n") else ""
        return body[: old.start] + mark + end + body[old.end :]
    gap = "" if not body else line_end if body.endswith("\n") else line_end * 2
    return f"{body}{gap}{mark}{line_end}"


def _contains(many: list[str], few: list[str]) -> bool:
    """Return whether all lines of the second list are in the first, in their order."""
    rest = iter(many)
    return all(line in rest for line in few)


def _difference(conflict: Conflict) -> list[str]:
    theirs, ours = (text.splitlines() for text in (conflict.theirs, conflict.ours))
    lines = difflib.unified_diff(
        theirs, ours, f"{conflict.where} (current)", f"{conflict.where} (generated)", lineterm=""
    )
    return [visible(line) for line in lines]
