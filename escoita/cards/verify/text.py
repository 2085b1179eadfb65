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
    r"[+\-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?(?:\s?[%‰])?|\b(?:better|worse)\b"
    r"|no measurable difference|not comparable"
)
_LINKS = re.compile(r"https?://[^\s<>\"')\]]+|\]\((?P<target>[^)\s]*)\)")
# The most figures that are printed of one difference.
MOST_FIGURES = 20
# A card of escoita has about fifty marks. Each is searched in the whole card, so the time grows with their square.
MOST_MARKS = 500
# Elements that change the card around them, and styles with which an element covers what is around it.
_REACHING = {"base", "link", "meta", "script", "style"}
_COVERING = re.compile(r"position\s*:|transform\s*:|z-index\s*:|margin[\w-]*\s*:[^;]*-", re.IGNORECASE)
# The most levels of elements that are looked at; a section stands in the second.
DEEPEST = 100
_OWN_TEMPLATE = "custom template: the publisher's own template wrote this section, and is not rendered here"


def check_sections(
    card: str, made_again: str, same_version: bool, custom: bool = False, released_code: Collection[str] = ()
) -> Iterator[Check]:
    """
    Compare each generated section of a card with the same section made again.

    Args:
        card (`str`): The published card.
        made_again (`str`): The card that escoita's template makes from the published records.
        same_version (`bool`): The card was written by the templates that are installed here, so that every word must
            be the same. Else figures, code and links are compared, and the words are not checked.
        custom (`bool`, *optional*, defaults to `False`): The publisher used a template of their own; sections that it
            changed are not checked.
        released_code (`Collection[str]`, *optional*): Code snippets that released versions write for this adapter.

    Raises:
        PublishError: The card is too long, or has more marks than a card of escoita can have.
    """
    published, expected = every_block(card), {block.name: block for block in every_block(made_again)}
    if not published:
        yield Check("card", "differs", ["holds no section that was made from records"])
        return
    count = Counter(block.name for block in published)
    for block in published:
        what = f"card: {block.name}"
        if count[block.name] > 1:
            yield Check(what, "differs", [f"the section stands {count[block.name]} times in the card"])
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
    Return everything that stands between marks. The last mark of the card, which lists what was made, is not trusted:
    a reader sees what stands there, regardless of who wrote it.

    Raises:
        PublishError: The card is too long, or has more marks than a card of escoita can have.
    """
    found, _ = _parts(card)
    return found


def figures_of(text: str) -> list[str]:
    """Return the figures of a text, in their order, and the verdicts among them."""
    return [re.sub(r"\s", " ", figure) for figure in _FIGURES.findall(text)]


def _parts(card: str) -> tuple[list[Block], str]:
    """Return the sections of a card, and the text that is left without them."""
    if len(card) > LONGEST_CARD or sum(1 for _ in MARK.finditer(card)) > MOST_MARKS:
        raise PublishError(
            f"README.md: is longer than {LONGEST_CARD:,} characters or has more than {MOST_MARKS:,} marks of sections"
        )
    card = _unsealed(card)
    found: list[Block] = []
    while some := blocks(card):
        found += some
        for block in reversed(some):
            card = card[: block.start] + card[block.end :]
    return found, card


def _unsealed(card: str) -> str:
    """Return a card without the marks that list what was made."""
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
        more = f"; figures that escoita's template does not write there: {_listed(unknown)}" if unknown else ""
        return skipped(what, _OWN_TEMPLATE + more, True)
    if expected is None:
        return Check(what, "differs", ["no record gives such a section"])
    if same_version:
        found = list(_figures(figures_of(block.text), figures_of(expected.text)))
        return compared(what, found or [_first_difference(block.text, expected.text)])
    code = set(_code(expected.text)) | set(released_code)
    # The code of another version may hold other numbers, such as a sampling rate. It is compared as a whole below.
    found = list(_figures(figures_of(_without(code, block.text)), figures_of(_without(code, expected.text))))
    unknown = [each for each in _code(block.text) if each not in code]
    found += [
        f"a code block that no version of escoita writes: {each.splitlines()[0][:60]!r}" for each in unknown if each
    ]
    links = Counter(_links(block.text)) - Counter(_links(expected.text))
    found += [f"a link that no record gives: {link}" for link in links]
    markup = Counter(_markup(block.text)) - Counter(_markup(expected.text))
    found += [f"HTML that no version of escoita writes there: {each[:60]!r}" for each in markup]
    if found:
        return compared(what, found)
    return skipped(what, "figures, code and links are the same; the words are those of another version of escoita")


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").strip("\n").split("\n")


def _first_difference(published: str, expected: str) -> str:
    for ours, theirs in zip_longest(_lines(published), _lines(expected), fillvalue=""):
        if ours != theirs:
            place = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), 0)
            begin = max(0, place - 20)
            return f"other words: {ours[begin : place + 40]!r} on the card, {theirs[begin : place + 40]!r} made again"
    return "other words"


def _figures(published: list[str], expected: list[str]) -> Iterator[str]:
    for kind, from_, to, there, until in SequenceMatcher(None, published, expected, autojunk=False).get_opcodes():
        if kind != "equal":
            yield f"{_listed(published[from_:to])} on the card, {_listed(expected[there:until])} recomputed"


def _listed(figures: Sequence[str]) -> str:
    more = f" and {len(figures) - MOST_FIGURES} more" if len(figures) > MOST_FIGURES else ""
    return f"{', '.join(figures[:MOST_FIGURES])}{more}" if figures else "nothing"


def _parser() -> MarkdownIt:
    """Return a parser of Markdown as the Hub reads it: with tables and HTML."""
    return MarkdownIt("commonmark").enable("table")


def _code(text: str) -> Iterator[str]:
    """Yield the code blocks of a section, without the line end at their end."""
    for token in _parser().parse(text):
        if token.type in ("fence", "code_block"):
            yield token.content.rstrip("\n")


def _without(known: Collection[str], text: str) -> str:
    """Return a section without the code blocks that are known."""
    for code in _code(text):
        text = text.replace(code, "", 1) if code in known else text
    return text


def _links(text: str) -> Iterator[str]:
    """Yield the addresses of links and images, also of those that are written in two parts, and all web addresses."""
    for found in _LINKS.finditer(text):
        yield found["target"] or found[0]
    for token in _tokens(text):
        if address := token.attrGet("href") or token.attrGet("src"):
            yield str(address)


def _markup(text: str) -> Iterator[str]:
    """Yield the HTML of a section, which could hide a part of it or show something else."""
    for token in _tokens(text):
        if token.type in ("html_block", "html_inline"):
            yield token.content.strip()


def _tokens(text: str) -> Iterator[Token]:
    for token in _parser().parse(text):
        yield token
        yield from token.children or ()


def _hidden(card: str, published: Sequence[Block]) -> Iterator[str]:
    """
    Yield a line for each section that a reader does not see as it stands: in a comment, in an element of HTML, in a
    list, a quotation or code that was put around it.

    The text of each section is replaced by a word of its own. The word must come out of Markdown as a paragraph that
    is inside of no other element.
    """
    names: dict[str, str] = {}
    body = _unsealed(_body(card))
    for place, block in enumerate(published):
        word = f"escoitasection{place}x"
        if word in card:
            yield f"{block.name}: the card holds the word {word}, which only this check uses"
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
            yield f"{name}: the section is not shown to a reader as text of its own"
        elif inside := [tag for tag in around if tag not in ("html", "body")]:
            yield f"{name}: the section stands inside of <{inside[-1]}>"
        elif word in formulas:
            yield f"{name}: the section stands inside of a formula"
    for element, _ in _elements(page, ()):
        if element.tag in _REACHING and (element.text or element.attrib):
            yield f"the card holds <{element.tag}>, which can hide or change what a reader sees elsewhere"
        elif _COVERING.search(element.get("style", "")):
            yield f"the card holds <{element.tag}> with a style that can cover other text"


def _elements(element: Any, parents: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yield the elements of a page, each with the tags around it, down to the deepest level that is looked at."""
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
    """Return the words of sections that stand between two `$$`, where the Hub reads a formula and no Markdown."""
    found, inside = set(), False
    for token in _tokens(body):
        if token.type == "text":
            if inside:
                found |= set(re.findall(r"escoitasection\d+x", token.content))
            inside ^= token.content.count("$$") % 2 == 1
    return found


def _author(card: str) -> Iterator[Check]:
    """Say how much of a card stands outside of the sections: it is the author's own, and no record proves it."""
    body = _body(_parts(card)[1]).strip()
    if not body:
        return
    tokens = _parser().parse(body)
    tables = sum(token.type == "table_open" for token in tokens) + len(re.findall(r"<table\b", body, re.IGNORECASE))
    images = sum(child.type == "image" for token in tokens for child in token.children or [])
    images += len(re.findall(r"<(?:img|picture|svg|video|iframe|object|embed)\b", body, re.IGNORECASE))
    counts = {"words": len(body.split()), "figures": len(figures_of(body)), "tables": tables, "images": images}
    said = ", ".join(f"{number:,} {name}" for name, number in counts.items())
    yield unprovable("card: text outside of the sections", f"the author's own: {said}")


_NAMED = re.compile(
    r"""(?P<quote>["'])(?P<string>[\w.-]+/[\w.-]+)(?P=quote)"""  # of code
    r"|escoita verify (?P<command>[\w./-]+)|https://huggingface\.co/(?P<link>[\w.-]+/[\w.-]+)"
)


def named(card: str) -> list[str]:
    """Repositories that the blocks of a card name in code, commands and links, in their order."""
    text = "\n".join(block.text for block in every_block(card))
    return [found["string"] or found["command"] or found["link"] for found in _NAMED.finditer(text)]


def check_names(card: str, made: str, adapter: str, base: str) -> Check:
    """
    Looks at the repositories that the code, the commands and the links of a card name.

    Args:
        card (`str`): As it was published.
        made (`str`): The card as it is made for this repository.
        adapter (`str`): The repository.
        base (`str`): That of the base.
    """
    right = set(named(made)) | {adapter, base}
    wrong = [name for name in dict.fromkeys(named(card)) if name not in right]
    return compared(
        "repositories in the code",
        [f"{name}, instead of {adapter} or {base}" for name in wrong],
        f"adapter {adapter}, base {base}",
    )


def check_versions(card: str, versions: Mapping[str, str]) -> Check:
    """
    Compares the framework versions on a card with those of training.

    Args:
        card (`str`): As it was published.
        versions (`Mapping[str, str]`): Of `training.json`.
    """
    text = "\n".join(block.text for block in every_block(card)).replace("\\", "")
    told = {
        name: found[1]
        for name in versions
        if (found := re.search(rf"(?<![\w-]){re.escape(name)} v?(\d[\w.+!-]*[\w+])", text))
    }
    if not told:
        return skipped("framework versions", "the card names none")
    wrong = [
        f"{name}: {version} on the card, {versions[name]} in training.json"
        for name, version in told.items()
        if version != versions[name]
    ]
    return compared("framework versions", wrong, f"{len(told)} are those of training.json")
