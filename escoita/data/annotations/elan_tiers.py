"""
Add tiers to ELAN files: elements are inserted into the text of the file, and every other byte stays.

`<TIME_ORDER/>`, as ELAN writes a file without annotations, becomes `<TIME_ORDER>…</TIME_ORDER>`.
"""

import codecs
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element  # noqa: S405  (for types; `elan.parse` refuses document types)
from xml.parsers import expat  # noqa: S405  (the file was parsed by `elan.parse`, which refuses document types)
from xml.sax.saxutils import escape, quoteattr  # noqa: S406  (these write XML)

from escoita.data.annotations.base import AnnotationError
from escoita.data.annotations.elan import EAF_BYTES, parse
from escoita.data.annotations.new_tiers import NewTier, NewTierError, milliseconds
from escoita.utils.limits import read_bounded


# The linguistic type of new tiers: aligned with the recording, without constraints and vocabulary.
DRAFT_TYPE = "escoita-draft"
_DECLARED = re.compile(rb"""^<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_INDENT = re.compile(r"\r?\n([ \t]*)$")


def refuse_constrained(path: Path, tiers: Collection[str]) -> None:
    """
    Refuse to draft empty annotations that have no times of their own, or whose values are those of a vocabulary.

    Args:
        path (`Path`): The file.
        tiers (`Collection[str]`): The names of the tiers with empty annotations.

    Raises:
        NewTierError: A tier is a reference tier, has a controlled vocabulary, or an empty annotation has time slots
            without a time.
        AnnotationError: The file is damaged.
    """
    document = parse(path)
    types = {each.get("LINGUISTIC_TYPE_ID"): each for each in document.findall("LINGUISTIC_TYPE")}
    timed = {each.get("TIME_SLOT_ID") for each in document.iter("TIME_SLOT") if each.get("TIME_VALUE") is not None}
    for tier in document.findall("TIER"):
        name, kind = tier.get("TIER_ID", ""), types.get(tier.get("LINGUISTIC_TYPE_REF"))
        if name not in tiers:
            continue
        constraint = kind.get("CONSTRAINTS") if kind is not None else None
        vocabulary = kind.get("CONTROLLED_VOCABULARY_REF") if kind is not None else None
        if vocabulary:
            raise NewTierError(
                f"its values are those of the controlled vocabulary {vocabulary!r}", path=path, key=name
            )
        if constraint or tier.get("PARENT_REF") or next(tier.iter("REF_ANNOTATION"), None) is not None:
            hint = "choose a tier that is aligned with the recording (--tier)"
            kind_of = f" ({constraint})" if constraint else ""
            raise NewTierError(f"is a reference tier{kind_of}: no times of its own", path=path, key=name, hint=hint)
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            slots = [annotation.get("TIME_SLOT_REF1"), annotation.get("TIME_SLOT_REF2")]
            if not (annotation.findtext("ANNOTATION_VALUE") or "").strip() and not set(slots) <= timed:
                hint = "align the annotation with the recording in ELAN"
                raise NewTierError(
                    "an empty annotation has a time slot without a time", path=path, key=name, hint=hint
                )


def with_tiers(path: Path, tiers: Sequence[NewTier]) -> bytes:
    """
    Return the content of an ELAN file with new tiers; the file is not written.

    Args:
        path (`Path`): The file.
        tiers (`Sequence[NewTier]`): The tiers.

    Raises:
        NewTierError: A tier with this name exists, the times of the file are not in milliseconds, or the type of the
            new tiers has constraints.
        AnnotationError: The file is damaged.
    """
    document = parse(path)
    content = read_bounded(path, EAF_BYTES)
    _check(path, document, tiers)
    places = _Places(path, content)
    if places.order is None:
        raise NewTierError("has no TIME_ORDER", path=path)
    encoding = _encoding(path, content)
    closing = "/>".encode(encoding)
    places.closed = content[: places.order[1]].endswith(closing)
    texts: dict[int, list[str]] = defaultdict(list)
    used = {value for each in document.iter() for name, value in each.attrib.items() if name.endswith("_ID")}
    slots, elements = [], []
    number = 0
    break_, first = _line(content, places.tiers[0][0] if places.tiers else places.order[0], encoding)
    inner = first + first if break_ else ""
    for tier in tiers:
        speaker = f" PARTICIPANT={quoteattr(tier.speaker)}" if tier.speaker else ""
        lines = [f"<TIER LINGUISTIC_TYPE_REF={quoteattr(DRAFT_TYPE)}{speaker} TIER_ID={quoteattr(tier.name)}>"]
        for start, end, text in milliseconds(tier):
            number += 1
            while {f"tsd{2 * number - 1}", f"tsd{2 * number}", f"ad{number}"} & used:
                number += 1
            slots += [(start, f"tsd{2 * number - 1}"), (end, f"tsd{2 * number}")]
            lines.append(
                f'{inner}<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="ad{number}" TIME_SLOT_REF1="tsd'
                f'{2 * number - 1}" TIME_SLOT_REF2="tsd{2 * number}"><ANNOTATION_VALUE>{escape(text)}'
                "</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        elements.append(f"{break_}{first}{break_.join(lines)}{break_}{first if break_ else ''}</TIER>")
    _add_slots(content, places, slots, texts, encoding)
    last_tier = places.tiers[-1][1] if places.tiers else places.order[1]
    texts[last_tier] += elements
    if not any(each.get("LINGUISTIC_TYPE_ID") == DRAFT_TYPE for each in document.findall("LINGUISTIC_TYPE")):
        kind = (
            f'{break_}{first}<LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="{DRAFT_TYPE}"'
            ' TIME_ALIGNABLE="true"/>'
        )
        texts[places.types[-1][1] if places.types else last_tier].append(kind)
    parts, before = [], 0
    for place in sorted(texts):
        closed = places.closed and place == places.order[1]
        end = place - len(closing) * closed
        parts += [content[before:end], "".join(texts[place]).encode(encoding, "xmlcharrefreplace")]
        before = place
    return b"".join([*parts, content[before:]])


def _check(path: Path, document: Element, tiers: Sequence[NewTier]) -> None:
    header = document.find("HEADER")
    units = header.get("TIME_UNITS", "milliseconds") if header is not None else "milliseconds"
    if units != "milliseconds":
        raise NewTierError("the times of the file are not in milliseconds", path=path, key="TIME_UNITS", value=units)
    names = {each.get("TIER_ID") for each in document.findall("TIER")}
    for tier in tiers:
        if tier.name in names:
            raise NewTierError("exists in the file", path=path, key=tier.name)
    for kind in document.findall("LINGUISTIC_TYPE"):
        if kind.get("LINGUISTIC_TYPE_ID") == DRAFT_TYPE and (
            kind.get("CONSTRAINTS") or kind.get("CONTROLLED_VOCABULARY_REF") or kind.get("TIME_ALIGNABLE") == "false"
        ):
            raise NewTierError("the type of drafts has constraints or a vocabulary", path=path, key=DRAFT_TYPE)


def _add_slots(
    content: bytes,
    places: "_Places",
    slots: list[tuple[int, str]],
    texts: dict[int, list[str]],
    encoding: str,
) -> None:
    """Add time slots in the order of time: each before the first slot of a later time."""
    order_start, order_end = places.order or (0, 0)
    own = places.slots
    named = [(time, f'<TIME_SLOT TIME_SLOT_ID="{name}" TIME_VALUE="{time}"/>') for time, name in sorted(slots)]
    break_, indent = _line(content, own[-1][0] if own else order_start, encoding)
    if not own:
        lines = "".join(f"{break_}{indent}{indent}{element}" for _, element in named)
        if places.closed:
            texts[order_end].append(f">{lines}{break_}{indent}</TIME_ORDER>")
        else:
            texts[places.inside].append(lines)
        return
    position = 0
    for time, element in named:
        while position < len(own) and ((at := own[position][2]) is None or at <= time):
            position += 1
        if position < len(own):
            after = "".join(_line(content, own[position][0], encoding))
            texts[own[position][0]].append(element + after)
        else:
            texts[own[-1][1]].append(f"{break_}{indent}{element}")


class _Places:
    """
    Find the byte positions of elements: `(start, end)` of each.

    Args:
        path (`Path`): The file, for errors.
        content (`bytes`): Its content.
    """

    def __init__(self, path: Path, content: bytes):
        self._path = path
        self.order: tuple[int, int] | None = None
        self.closed = False  # whether the time order is one tag
        self.inside = 0
        self.slots: list[tuple[int, int, int | None]] = []
        self.tiers: list[tuple[int, int]] = []
        self.types: list[tuple[int, int]] = []
        self._open: list[tuple[str, int, dict[str, str]]] = []
        # An element ends where the next event begins.
        self._ended: tuple[str, int, dict[str, str], int] | None = None
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = False
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.DefaultHandler = self._other
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.Parse(content, True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._finish()
        self._open.append((name, self._parser.CurrentByteIndex, attributes))

    def _end(self, name: str) -> None:
        self._finish()
        name, start, attributes = self._open.pop()
        if name == "TIME_ORDER":
            self.inside = self._parser.CurrentByteIndex
        self._ended = name, start, attributes, len(self._open)

    def _refuse(self, *declaration: Any) -> None:
        # The file was changed after `parse` read it.
        raise AnnotationError("a document type (DOCTYPE) is refused", path=self._path)

    def _other(self, data: Any) -> None:
        self._finish()

    def _finish(self) -> None:
        if self._ended is None:
            return
        (name, start, attributes, depth), self._ended = self._ended, None
        end = self._parser.CurrentByteIndex
        if name == "TIME_ORDER" and depth == 1:
            self.order = start, end
        elif name == "TIME_SLOT" and depth == 2:
            value = attributes.get("TIME_VALUE")
            try:
                self.slots.append((start, end, None if value is None else int(value)))
            except ValueError as error:
                problem = "not a time in milliseconds"
                raise AnnotationError(problem, path=self._path, key="TIME_VALUE", value=str(value)[:40]) from error
        elif depth == 1 and name in ("TIER", "LINGUISTIC_TYPE"):
            (self.tiers if name == "TIER" else self.types).append((start, end))


def _encoding(path: Path, content: bytes) -> str:
    """Return the encoding of text that is inserted: that of the file, without a byte order mark."""
    if content.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if content.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    declared = _DECLARED.match(content.removeprefix(codecs.BOM_UTF8))
    name = declared[1].decode("ascii") if declared else "utf-8"
    try:
        found = codecs.lookup(name).name
        return ("utf-16-le" if content[1:2] == b"\0" else "utf-16-be") if found == "utf-16" else found
    except LookupError as error:
        raise AnnotationError("unknown encoding", path=path, value=name[:40]) from error


def _line(content: bytes, place: int, encoding: str) -> tuple[str, str]:
    """Return the line end and the indentation before an element; both are empty if no line begins with it."""
    before = content[max(0, place - 400) : place].decode(encoding, "ignore")
    found = _INDENT.search(before)
    return ("\r\n" if found[0].startswith("\r") else "\n", found[1]) if found else ("", "")
