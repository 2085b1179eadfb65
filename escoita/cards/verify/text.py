"""Compare the text of a card, and the names in it, with the recomputed records."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

import html5lib
from markdown_it import MarkdownIt
from markdown_it.token import Token

from escoita.cards.front_matter import LONGEST_CARD, MARK, Block, blocks, made, split
from escoita.cards.verify.check import Check, compared, skipped, unprovable
from escoita.errors import PublishError


# A figure of a card: a number with its sign, separators and unit, or the verdict of a comparison.
_FIGURES = re.compile(
    r"[+\-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?(?:\s?[%‰])?|\b(?:better|worse)(?: for these speakers)?\b"
    r"|no measurable difference|not comparable"
)
_LINKS = re.compile(r"https?://[^\s<>\"')\]]+|\]\((?P<target>[^)\s]*)\)")
# Figures that are printed for one difference.
MOST_FIGURES = 20
# A card of escoita has about fifty marks. The whole card is searched for each, so the time is quadratic.
MOST_MARKS = 500
# Elements that change the rest of the card, and styles with which an element covers other text.
_REACHING = {"base", "link", "meta", "script", "style"}
_COVERING = re.compile(r"position\s*:|transform\s*:|z-index\s*:|margin[\w-]*\s*:[^;]*-", re.IGNORECASE)
# Levels of elements that are checked; a section is in the second.
DEEPEST = 100
# Links within the card that released versions write, and this version writes otherwise.
RELEASED_LINKS = frozenset({"#licence"})
_OWN_TEMPLATE = "custom template: a template of the publisher wrote this section, and is not rendered"


class CardLimitError(PublishError):
    """Report a card that is too long, or has more marks than escoita writes."""

    problem = f"more than {LONGEST_CARD:,} characters or {MOST_MARKS:,} marks of sections"


def check_sections(
    card: str, recomputed: str, same_version: bool, custom: bool = False, released_code: Collection[str] = ()
) -> Iterator[Check]:
    """
    Compare each generated section of a card with the same section from the recomputed records.

    Args:
        card (`str`): Published card.
        recomputed (`str`): Card from the template of escoita and the recomputed records.
        same_version (`bool`): Whether the installed templates wrote the card, so that every word must be equal. If
            not, only figures, code and links are compared.
        custom (`bool`, *optional*, defaults to `False`): Whether the publisher used a custom template; sections that
            it changed are not checked.
        released_code (`Collection[str]`, *optional*): Code snippets that released versions write for this adapter.

    Raises:
        CardLimitError: The card is too long, or has too many marks.
    """
    published, expected = every_block(card), {block.name: block for block in every_block(recomputed)}
    if not published:
        yield Check("card", "differs", ["no generated sections"])
        return
    count = Counter(block.name for block in published)
    for block in published:
        what = f"card: {block.name}"
        if count[block.name] > 1:
            yield Check(what, "differs", [f"the section occurs {count[block.name]} times"])
            count[block.name] = 0
        elif count[block.name]:
            yield _compared(what, block, expected.get(block.name), same_version, custom, released_code)
    for name in expected:
        if name not in count:
            what = f"card: {name}"
            yield skipped(what, _OWN_TEMPLATE, True) if custom else Check(what, "differs", ["the section was removed"])
    yield compared("card: visibility", list(_hidden(card, published)), f"all {len(published)} sections are shown")
    yield from _author(card)


def every_block(card: str) -> list[Block]:
    """
    Return all text between marks. The last mark of the card, which lists the generated sections, is not trusted: a
    reader sees all of them.

    Raises:
        CardLimitError: The card is too long, or has too many marks.
    """
    found, _ = _parts(card)
    return found


def figures_of(text: str) -> list[str]:
    """Return the figures and verdicts of a text in their order."""
    return [re.sub(r"\s", " ", figure) for figure in _FIGURES.findall(text)]


def _parts(card: str) -> tuple[list[Block], str]:
    """Return the sections of a card, and the remaining text."""
    if len(card) > LONGEST_CARD or sum(1 for _ in MARK.finditer(card)) > MOST_MARKS:
        raise CardLimitError(path="README.md")
    card = _unsealed(card)
    found: list[Block] = []
    while some := blocks(card):
        found += some
        for block in reversed(some):
            card = card[: block.start] + card[block.end :]
    return found, card


def _unsealed(card: str) -> str:
    """Return a card without the marks that list the generated sections."""
    while seal := made(card):
        card = card[: seal.start] + card[seal.end :]
    return card


def _body(card: str) -> str:
    """Return a card without its front matter."""
    opening, _, rest = split(card)
    return rest.lstrip("\r\n").removeprefix("---") if opening else rest


def _compared(
    what: str, block: Block, expected: Block | None, same_version: bool, custom: bool, released_code: Collection[str]
) -> Check:
    if expected is not None and _lines(block.text) == _lines(expected.text):
        return Check(what, "holds")
    if custom:
        known = Counter(figures_of(expected.text)) if expected else Counter[str]()
        unknown = list((Counter(figures_of(block.text)) - known).elements())
        more = f"; figures that are not from the template of escoita: {_listed(unknown)}" if unknown else ""
        return skipped(what, _OWN_TEMPLATE + more, True)
    if expected is None:
        return Check(what, "differs", ["the records give no such section"])
    if same_version:
        found = list(_figures(figures_of(block.text), figures_of(expected.text)))
        return compared(what, found or [_first_difference(block.text, expected.text)])
    code = set(_code(expected.text)) | set(released_code)
    # The code of another version may have other numbers, such as a sampling rate. It is compared as a whole below.
    found = list(_figures(figures_of(_without(code, block.text)), figures_of(_without(code, expected.text))))
    unknown = [each for each in _code(block.text) if each not in code]
    found += [f"unknown code block: {each.splitlines()[0][:60]!r}" for each in unknown if each]
    links = Counter(_links(block.text)) - Counter(_links(expected.text))
    found += [f"unknown link: {link}" for link in links if link not in RELEASED_LINKS]
    markup = Counter(_markup(block.text)) - Counter(_markup(expected.text))
    found += [f"unknown HTML: {each[:60]!r}" for each in markup]
    if found:
        return compared(what, found)
    return skipped(what, "figures, code and links are equal; the words are from another version of escoita")


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").strip("\n").split("\n")


def _first_difference(published: str, expected: str) -> str:
    for ours, theirs in zip_longest(_lines(published), _lines(expected), fillvalue=""):
        if ours != theirs:
            place = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), 0)
            begin = max(0, place - 20)
            return f"other words: {ours[begin : place + 40]!r} on the card, {theirs[begin : place + 40]!r} recomputed"
    return "other words"


def _figures(published: list[str], expected: list[str]) -> Iterator[str]:
    for kind, a, b, c, d in SequenceMatcher(None, published, expected, autojunk=False).get_opcodes():
        if kind != "equal":
            yield f"{_listed(published[a:b])} on the card, {_listed(expected[c:d])} recomputed"


def _listed(figures: Sequence[str]) -> str:
    more = f" and {len(figures) - MOST_FIGURES} more" if len(figures) > MOST_FIGURES else ""
    return f"{', '.join(figures[:MOST_FIGURES])}{more}" if figures else "nothing"


def _parser() -> MarkdownIt:
    """Return a parser for the Markdown of the Hub: with tables and HTML."""
    return MarkdownIt("commonmark").enable("table")


def _code(text: str) -> Iterator[str]:
    """Yield the code blocks of a section, without the line end at their end."""
    for token in _parser().parse(text):
        if token.type in ("fence", "code_block"):
            yield token.content.rstrip("\n")


def _without(known: Collection[str], text: str) -> str:
    """Return a section without the known code blocks."""
    for code in _code(text):
        text = text.replace(code, "", 1) if code in known else text
    return text


def _links(text: str) -> Iterator[str]:
    """Yield the targets of links and images, including reference links, and all web addresses."""
    for found in _LINKS.finditer(text):
        yield found["target"] or found[0]
    for token in _tokens(text):
        if address := token.attrGet("href") or token.attrGet("src"):
            yield str(address)


def _markup(text: str) -> Iterator[str]:
    """Yield the HTML of a section, which could hide or replace text."""
    for token in _tokens(text):
        if token.type in ("html_block", "html_inline"):
            yield token.content.strip()


def _tokens(text: str) -> Iterator[Token]:
    for token in _parser().parse(text):
        yield token
        yield from token.children or ()


def _hidden(card: str, published: Sequence[Block]) -> Iterator[str]:
    """
    Yield a line for each section that is not plainly visible: in a comment, in an HTML element, in a list, a quotation
    or code.

    The text of each section is replaced by a unique word, which Markdown must render as a paragraph outside of other
    elements.
    """
    names: dict[str, str] = {}
    body = _unsealed(_body(card))
    for place, block in enumerate(published):
        word = f"escoitasection{place}x"
        if word in card:
            yield f"{block.name}: the card contains the word {word}, which is reserved for this check"
            return
        names[word] = block.name
    for found in reversed(blocks(body)):
        word = next((word for word, name in names.items() if name == found.name), "")
        begin = body.index("\n", found.start) + 1
        close = body.rindex("<!-- escoita:end", found.start, found.end)
        body = f"{body[:begin]}\n{word}\n\n{body[close:]}"
    page = html5lib.parse(_parser().render(body), namespaceHTMLElements=False)
    formulas = _in_formulas(body)
    shown = {element.text: parents for element, parents in _elements(page, ()) if element.tag == "p"}
    for word, name in names.items():
        around = shown.get(word)
        if around is None:
            yield f"{name}: the section is not visible"
        elif inside := [tag for tag in around if tag not in ("html", "body")]:
            yield f"{name}: the section is inside of <{inside[-1]}>"
        elif word in formulas:
            yield f"{name}: the section is inside of a formula"
    for element, _ in _elements(page, ()):
        if element.tag in _REACHING and (element.text or element.attrib):
            yield f"<{element.tag}> in the card can hide or change other text"
        elif _COVERING.search(element.get("style", "")):
            yield f"<{element.tag}> in the card has a style that can cover other text"


def _elements(element: Any, parents: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yield the elements of a page with the tags around them, down to the deepest checked level."""
    level = [(element, parents)]
    while level:
        yield from level
        level = [
            (child, (*around, str(each.tag)))
            for each, around in level
            for child in each
            if isinstance(child.tag, str) and len(around) < DEEPEST
        ]


def _in_formulas(body: str) -> set[str]:
    """Return the words of sections between two `$$`, where the Hub renders a formula instead of Markdown."""
    found, inside = set(), False
    for token in _tokens(body):
        if token.type == "text":
            if inside:
                found |= set(re.findall(r"escoitasection\d+x", token.content))
            inside ^= token.content.count("$$") % 2 == 1
    return found


def _author(card: str) -> Iterator[Check]:
    """Count the text outside of the sections, which is the author's and cannot be proven."""
    body = _body(_parts(card)[1]).strip()
    if not body:
        return
    tokens = _parser().parse(body)
    tables = sum(token.type == "table_open" for token in tokens) + len(re.findall(r"<table\b", body, re.IGNORECASE))
    images = sum(child.type == "image" for token in tokens for child in token.children or [])
    images += len(re.findall(r"<(?:img|picture|svg|video|iframe|object|embed)\b", body, re.IGNORECASE))
    counts = {"words": len(body.split()), "figures": len(figures_of(body)), "tables": tables, "images": images}
    numbers = ", ".join(f"{number:,} {name}" for name, number in counts.items())
    yield unprovable("card: text outside of the sections", f"text of the author: {numbers}")


_NAMED = re.compile(
    r"""(?P<quote>["'])(?P<string>[\w.-]+/[\w.-]+)(?P=quote)"""  # in code
    r"|escoita verify (?P<command>[\w./-]+)|https://huggingface\.co/(?P<link>[\w.-]+/[\w.-]+)"
)


def named(card: str) -> list[str]:
    """Return the repositories in code, commands and links of the blocks of a card, in their order."""
    text = "\n".join(block.text for block in every_block(card))
    return [found["string"] or found["command"] or found["link"] for found in _NAMED.finditer(text)]


def check_names(card: str, recomputed: str, adapter: str, base: str) -> Check:
    """
    Check the repositories in code, commands and links of a card.

    Args:
        card (`str`): Published card.
        recomputed (`str`): Card from the recomputed records.
        adapter (`str`): Repository of the adapter.
        base (`str`): Repository of the base.
    """
    expected = set(named(recomputed)) | {adapter, base}
    wrong = [name for name in dict.fromkeys(named(card)) if name not in expected]
    return compared(
        "repositories in the code",
        [f"{name} instead of {adapter} or {base}" for name in wrong],
        f"adapter {adapter}, base {base}",
    )


def check_versions(card: str, versions: Mapping[str, str]) -> Check:
    """
    Compare the framework versions on a card with those of the training.

    Args:
        card (`str`): Published card.
        versions (`Mapping[str, str]`): Versions from `training.json`.
    """
    text = "\n".join(block.text for block in every_block(card)).replace("\\", "")
    shown = {
        name: found[1]
        for name in versions
        if (found := re.search(rf"(?<![\w-]){re.escape(name)} v?(\d[\w.+!-]*[\w+])", text))
    }
    if not shown:
        return skipped("framework versions", "no versions on the card")
    wrong = [
        f"{name}: {version} on the card, {versions[name]} in training.json"
        for name, version in shown.items()
        if version != versions[name]
    ]
    return compared("framework versions", wrong, f"{len(shown)} versions as in training.json")
