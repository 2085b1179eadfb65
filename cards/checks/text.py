"""The blocks of a card against the same made anew from recomputed records."""

import re
from difflib import SequenceMatcher

from cards.blocks import LONGEST_CARD, MARK, Block, blocks, made
from cards.checks.check import Check, compared, skipped
from escoita.errors import PublishError


# What says how something came out: numbers, with a sign and separators, and the verdicts of a comparison.
_FIGURES = re.compile(r"[+\-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?|\b(?:better|worse)\b|no measurable difference")
# Of what differs in one place, so many are said.
MOST_FIGURES = 20
# A card of ours has about fifty. Each is looked for in all of the card: the time grows with their square.
MOST_MARKS = 500


def check_blocks(card: str, anew: str, ours: str | None = None) -> list[Check]:
    """
    Compares the blocks of a card; what a person wrote around them is not looked at.

    Where the words are others, as another version of escoita would have them, the figures must be the same, one after
    the other; the words are not checked: columns of a table may have changed their names.

    Args:
        card (`str`): As it was published.
        anew (`str`): As it is made from what was published with it.
        ours (`str`, *optional*): The same by escoita's own template, where another was published. Whatever that one
            writes otherwise it may have made up, and is not checked.
    """
    published, made_anew = every_block(card), {block.name: block for block in every_block(anew)}
    known = made_anew if ours is None else {block.name: block for block in every_block(ours)}
    if not published:
        return [Check("card", "differs", ["holds no block that was made from records"])]
    checks = [_compared(block, made_anew.get(block.name), known.get(block.name)) for block in published]
    missing = made_anew.keys() - {block.name for block in published}
    why = "the card has no such block; what it says of this is its author's"
    return checks + [skipped(f"card: {name}", why) for name in made_anew if name in missing]


def every_block(card: str) -> list[Block]:
    """
    All that stands between marks, twice where it stands twice. What the last mark of the card tells is not asked: a
    reader sees what stands there, whoever wrote it.

    Raises:
        PublishError: There are more marks than anybody makes, or the card is longer than the Hub shows.
    """
    if len(card) > LONGEST_CARD or sum(1 for _ in MARK.finditer(card)) > MOST_MARKS:
        raise PublishError(
            f"README.md: holds more than {LONGEST_CARD:,} characters or {MOST_MARKS:,} marks of blocks; not looked at"
        )
    while seal := made(card):
        card = card[: seal.start] + card[seal.end :]
    found: list[Block] = []
    while some := blocks(card):
        found += some
        for block in reversed(some):
            card = card[: block.start] + card[block.end :]
    return found


def figures_of(text: str) -> list[str]:
    """The figures of a text, in their order, and the verdicts among them."""
    return _FIGURES.findall(text)


def _compared(block: Block, anew: Block | None, ours: Block | None) -> Check:
    what = f"card: {block.name}"
    if anew is None:
        return Check(what, "differs", ["no record gives such a block"])
    if found := list(_differences(figures_of(block.text), figures_of(anew.text))):
        return compared(what, found)
    if ours is None or not _alike(anew.text, ours.text):
        return skipped(what, "is as the template makes it that was published, which may write any figures")
    if _alike(block.text, anew.text):
        return Check(what, "holds")
    by = "a person changed its words" if block.edited else "its words are of another version of escoita"
    return skipped(what, f"its figures are the same, one after the other; but {by}, which nothing proves")


def _alike(one: str, other: str) -> bool:
    return one.replace("\r\n", "\n").strip() == other.replace("\r\n", "\n").strip()


def _differences(published: list[str], anew: list[str]) -> list[str]:
    said = []
    for kind, from_, to, there, until in SequenceMatcher(None, published, anew, autojunk=False).get_opcodes():
        if kind != "equal":
            ours, theirs = (_listed(part) for part in (published[from_:to], anew[there:until]))
            said.append(f"{ours} on the card, {theirs} recomputed")
    return said


def _listed(figures: list[str]) -> str:
    more = f" and {len(figures) - MOST_FIGURES} more" if len(figures) > MOST_FIGURES else ""
    return f"{', '.join(figures[:MOST_FIGURES])}{more}" if figures else "nothing"
