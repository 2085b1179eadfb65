"""Puts what is made from records into a card that stands there already, and leaves every byte of a person alone."""

import difflib
from collections.abc import Callable, Iterable
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


class CardConflict(PublishError):
    """
    What a person changed inside a block, or in a key that is made, would be lost; shows it as a diff.

    Args:
        conflicts (`Iterable[Conflict]`): What stands against what would be written.
        reason (`str`, *optional*): What is the matter and what to do, in one line.
    """

    def __init__(self, conflicts: Iterable[Conflict], reason: str | None = None):
        conflicts = list(conflicts)
        where = ", ".join(conflict.where for conflict in conflicts)
        reason = reason or f"a person changed what is made ({where}); give --force to write over it"
        lines = (line for conflict in conflicts for line in _difference(conflict))
        super().__init__("\n".join([f"README.md: {reason}", *lines]))
        self.conflicts = conflicts


def sealed(card: str) -> str:
    """
    A new card with its last mark, which lists the blocks and the keys of the front matter that were made.

    Raises:
        PublishError: The front matter cannot be read.
    """
    if made(card):
        return card
    digests = front_digests(split(card)[1]) | {block.name: block.digest for block in blocks(card)}
    return f"{card.rstrip()}\n\n{made_mark(digests)}\n"


def revise(existing: str, new: str, force: bool = False) -> str:
    """
    Puts a new card into one that stands there.

    Blocks are replaced where they stand; one that is no longer made goes; a new one comes after the block that it
    follows in the new card. What a person took out, a block or a key of the front matter, stays out. A card without
    marks is somebody else's: it keeps its text, and the blocks come at its end.

    Args:
        existing (`str`): The card as it stands, with the line ends it has; empty where there is none.
        new (`str`): As [`~escoita.cards.build.build_card`] makes it.
        force (`bool`, *optional*): Ours is written where a person changed what is made.

    Returns:
        `str`: Every character outside of what is made is that of `existing`.

    Raises:
        CardConflict: A person changed a block or a generated key, to something else than would be written.
        PublishError: The front matter of the card cannot be read.
    """
    new = sealed(new)
    if not existing.removeprefix(BOM).strip():
        return new
    last = made(existing)
    told = last.digests if last else {}
    line_end = "\r\n" if "\r\n" in existing[: existing.find("\n") + 1] else "\n"
    opening, front, rest = split(existing)
    front_of_new = split(new)[1]
    merged, conflicts = merge(front, front_of_new, told, force, line_end)
    body, more = _revise_blocks(rest, new, told, force, line_end)
    if (conflicts or more) and not force:
        raise CardConflict([*conflicts, *more])
    if not opening and merged:
        opening = (BOM if body.startswith(BOM) else "") + f"---{line_end}"
        body = f"{line_end}---{line_end}{body.removeprefix(BOM)}"
    standing = {block.name for block in blocks(existing)} | {f"front.{key.name}" for key in keys(front)}
    taken_out = {name: value for name, value in told.items() if name not in standing}
    return opening + merged + _with_mark(body, taken_out | made_digests(new), line_end)


def combine(local: str, published: str, new: str, force: bool = False) -> str:
    """
    The card to publish, where both the run's README and that of the Hub may hold a person's text.

    The one that holds everything a person wrote in the other is revised: so text of the run reaches a first
    publication, and text that was written on the Hub stays when the run is published again. Where each holds something
    that the other lacks, it is for a person to say which is meant.

    Args:
        local (`str`): `README.md` of the run; empty where there is none.
        published (`str`): The card on the Hub; likewise.
        new (`str`): As it is made for the Hub.
        force (`bool`, *optional*): The run's is taken where both hold something, and ours is written over changes.

    Raises:
        CardConflict: Each of them holds text of a person that the other lacks.
        PublishError: As of [`revise`].
    """
    here, there = by_hand(local), by_hand(published)
    if _holds(there, here):
        return revise(published, new, force)
    if _holds(here, there) or force:
        return revise(local, new, force)
    conflict = Conflict("the card on the Hub", "\n".join(there), "\n".join(here))
    reason = "the run's and the Hub's each hold text of a person that the other lacks; bring the Hub's into the run's"
    raise CardConflict([conflict], f"{reason}, or give --force to publish the run's")


def reviser(local: str = "", force: bool = False) -> Callable[[str, str], str]:
    """As a commit takes it: [`combine`] for a card that is made of blocks; any other goes as it is."""
    return lambda published, new: combine(local, published, new, force) if blocks(new) else new


def standing_card(path: Path) -> str:
    """
    A card with the line ends that it has; nothing where there is none.

    Raises:
        PublishError: It is not UTF-8.
    """
    try:
        return path.read_bytes().decode() if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise PublishError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error


def by_hand(card: str) -> list[str]:
    """What a person did to a card: keys of the front matter, lines, blocks changed or taken out; blank lines aside."""
    last = made(card)
    told = last.digests if last else {}
    _, front, rest = split(card)
    standing, there = blocks(rest), keys(front)
    names = {block.name for block in standing} | {f"front.{key.name}" for key in there}
    lines = [f"(without {name})" for name in told if name not in names]
    for key in there:
        if told.get(f"front.{key.name}") != key_digest(key.value):
            lines += [line.strip() for line in front[key.start : key.end].splitlines()]
    for block in reversed(standing):
        rest = rest[: block.start] + (block.text if block.edited else "") + "\n" + rest[block.end :]
    if seal := made(rest):
        rest = rest[: seal.start] + rest[seal.end :]
    return lines + [line.strip() for line in rest.splitlines() if line.strip() not in ("", "---", BOM)]


def made_digests(card: str) -> dict[str, str]:
    """What the last mark of a sealed card tells."""
    last = made(card)
    return last.digests if last else {}


def _revise_blocks(
    rest: str, new: str, told: dict[str, str], force: bool, line_end: str
) -> tuple[str, list[Conflict]]:
    fresh = {block.name: block for block in blocks(new)}
    standing = {block.name: block for block in blocks(rest)}
    conflicts: list[Conflict] = []
    edits: list[tuple[int, int, str]] = []
    for name, block in standing.items():
        text = fresh[name].text if name in fresh else ""
        if block.edited and digest(block.text) != digest(text) and not force:
            conflicts.append(Conflict(f"block {name}", block.text, text))
        if name not in fresh:
            edits.append((block.start, block.end, ""))
        elif digest(text) != digest(block.text) or block.digest != fresh[name].digest:
            close = line_end if rest[: block.end].endswith("\n") else ""
            edits.append((block.start, block.end, _written(fresh[name], line_end) + close))
    edits += _inserted(rest, list(fresh.values()), standing, told, line_end)
    # From the end, so that places stay true; where one begins as another is inserted, the insertion stands before.
    for begin, end, written in sorted(edits, key=lambda edit: edit[0], reverse=True):
        rest = rest[:begin] + written + rest[end:]
    return rest, conflicts


def _inserted(
    rest: str, fresh: list[Block], standing: dict[str, Block], told: dict[str, str], line_end: str
) -> list[tuple[int, int, str]]:
    """Where blocks go that do not stand there yet: behind the one they follow, before the first, or at the end."""
    first = next((standing[block.name] for block in fresh if block.name in standing), None)
    seal = made(rest)
    at, gap_before, gap_after = seal.start if seal else len(rest), line_end, line_end if seal else ""
    if first:
        at, gap_before, gap_after = first.start, "", line_end
    places: dict[int, str] = {}
    for block in fresh:
        if block.name in standing:
            at, gap_before, gap_after = standing[block.name].end, line_end, ""
        elif block.name not in told:
            open_line = rest[:at] and not rest[:at].endswith("\n") and at not in places
            gap = (line_end if open_line else "") + (gap_before if rest[:at].strip() or at in places else "")
            places[at] = places.get(at, "") + gap + _written(block, line_end) + line_end + gap_after
    return [(place, place, text) for place, text in places.items()]


def _written(block: Block, line_end: str) -> str:
    text = f"{BEGIN.format(block.name, block.digest)}\n{block.text}\n{END.format(block.name)}"
    return text.replace("\r\n", "\n").replace("\n", line_end)


def _with_mark(body: str, digests: dict[str, str], line_end: str) -> str:
    """The body with the last mark where the old one stood, else at its end."""
    mark = made_mark(digests)
    if old := made(body):
        end = line_end if body[: old.end].endswith("\n") else ""
        return body[: old.start] + mark + end + body[old.end :]
    gap = "" if not body else line_end if body.endswith("\n") else line_end * 2
    return f"{body}{gap}{mark}{line_end}"


def _holds(many: list[str], few: list[str]) -> bool:
    """Whether all lines of the one stand in the other, in their order."""
    rest = iter(many)
    return all(line in rest for line in few)


def _difference(conflict: Conflict) -> list[str]:
    theirs, ours = (text.splitlines() for text in (conflict.theirs, conflict.ours))
    lines = difflib.unified_diff(
        theirs, ours, f"{conflict.where}, as it stands", "as it would be written", lineterm=""
    )
    return [visible(line) for line in lines]
