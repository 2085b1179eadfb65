"""Read ELAN files (.eaf), without document types, entities or files that they refer to."""

from collections import ChainMap
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree  # noqa: S405  (document types, and so entities, are refused)

from escoita.data.annotations.base import AnnotationError, Segment, recording_name, tier_speaker
from escoita.errors import CorpusError
from escoita.utils.limits import MEBIBYTE, read_bounded


EAF_BYTES = 64 * MEBIBYTE
MOST_ELEMENTS = 2_000_000


def read(path: Path, language: str | None = None) -> list[Segment]:
    """
    Read the annotations of all tiers.

    An annotation that is aligned through another one (a reference tier) gets its times; several that refer to the same
    one on one tier, such as words of an utterance, are one segment. Slots without a time are placed evenly between
    their neighbors, as ELAN shows them. The speaker is the participant of the tier, or is taken from its name
    (`utterance@A`); the kind is the linguistic type.

    Args:
        path (`Path`): The file.
        language (`str`, *optional*): The language of the text, which is not used: the file states its encoding.

    Raises:
        AnnotationError: The file is not XML, declares a document type, is too large, or lacks what an annotation
            refers to.
        CorpusError: The file cannot be read.
    """
    document = parse(path)
    header = document.find("HEADER")
    media = [
        name
        for each in ([] if header is None else header.findall("MEDIA_DESCRIPTOR"))
        if (name := recording_name(each.get("RELATIVE_MEDIA_URL") or each.get("MEDIA_URL") or ""))
    ]
    recording = media[0] if media else recording_name((header.get("MEDIA_FILE") if header is not None else "") or "")
    order = document.find("TIME_ORDER")
    slots = {each.get("TIME_SLOT_ID", ""): each.get("TIME_VALUE") for each in (order if order is not None else ())}
    tiers = document.findall("TIER")
    times = _times(path, tiers, slots)
    segments: list[Segment] = []
    for tier in tiers:
        name = tier.get("TIER_ID", "")
        kind, speaker = tier_speaker(name)
        speaker, kind = tier.get("PARTICIPANT", "").strip() or speaker, tier.get("LINGUISTIC_TYPE_REF") or kind
        texts: dict[str, list[str]] = {}
        for annotation in _annotations(tier):
            value = annotation.findtext("ANNOTATION_VALUE") or ""
            # The annotations of a reference tier that share a parent are together one segment.
            own = annotation.get("ANNOTATION_REF", "") or annotation.get("ANNOTATION_ID", "")
            texts.setdefault(own, []).append(" ".join(value.split()))
        for own, parts in texts.items():
            start, end = _span(path, own, times)
            text = " ".join(filter(None, parts))
            segments.append(Segment(recording, start, end, text, name, speaker, kind, len(segments) + 1))
    return segments


class _Builder(ElementTree.TreeBuilder):
    """Build a tree of limited size, without a document type, which comes before all entities."""

    count = 0

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a document type (DOCTYPE), which ELAN does not write, is refused")

    def start(self, tag: str, attrs: dict) -> ElementTree.Element:
        self.count += 1
        if self.count > MOST_ELEMENTS:
            raise ValueError(f"more than {MOST_ELEMENTS:,} elements")
        return super().start(tag, attrs)


def parse(path: Path) -> ElementTree.Element:
    """
    Return the root of an ELAN file.

    Args:
        path (`Path`): The file.

    Raises:
        AnnotationError: The file is not an ELAN document, declares a document type, or is too large.
        CorpusError: The file cannot be read.
    """
    try:
        content = read_bounded(path, EAF_BYTES)
    except OSError as error:
        raise CorpusError(f"cannot be read ({error.strerror})", path=path) from error
    parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314  (_Builder refuses document types)
    try:
        parser.feed(content)
        root = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise AnnotationError(f"not an ELAN file ({str(error)[:200]})", path=path) from error
    if root.tag != "ANNOTATION_DOCUMENT":
        raise AnnotationError("not an ELAN file", path=path, value=root.tag[:40])
    return root


def _annotations(tier: ElementTree.Element) -> list[ElementTree.Element]:
    return [each for annotation in tier.findall("ANNOTATION") for each in annotation]


def _times(
    path: Path, tiers: list[ElementTree.Element], slots: dict[str, str | None]
) -> dict[str, tuple[float, float] | str]:
    """Return the start and end of each annotation in seconds, or the annotation that it refers to."""
    known: dict[str, float] = {}
    for name, value in slots.items():
        if value is not None:
            try:
                known[name] = int(value) / 1000
            except (ValueError, OverflowError) as error:
                raise AnnotationError("not a time in milliseconds", path=path, key=name, value=value[:40]) from error
    times: dict[str, tuple[float, float] | str] = {}
    for tier in tiers:
        aligned = [each for each in _annotations(tier) if each.tag == "ALIGNABLE_ANNOTATION"]
        placed = ChainMap(_interpolated(aligned, known), known)  # not a copy for each tier
        for each in _annotations(tier):
            name = each.get("ANNOTATION_ID", "")
            if each.tag == "REF_ANNOTATION":
                times[name] = each.get("ANNOTATION_REF", "")
                continue
            bounds = [each.get("TIME_SLOT_REF1", ""), each.get("TIME_SLOT_REF2", "")]
            missing = next((slot for slot in bounds if slot not in placed), None)
            if missing is not None:
                raise AnnotationError("refers to a time slot without a time", path=path, key=name, value=missing[:40])
            times[name] = placed[bounds[0]], placed[bounds[1]]
    return times


def _interpolated(annotations: list[ElementTree.Element], known: dict[str, float]) -> dict[str, float]:
    """Return times of the slots without a time that a chain of annotations shares, evenly between its neighbors."""
    following = {each.get("TIME_SLOT_REF1", ""): each.get("TIME_SLOT_REF2", "") for each in annotations}
    placed: dict[str, float] = {}
    seen: set[str] = set()  # so that no slot is followed twice, however many chains lead to it
    for first, second in following.items():
        if first in known and second not in known and second not in seen:
            chain = [first, second]
            seen.add(second)
            while chain[-1] not in known and (after := following.get(chain[-1])) and after not in seen:
                chain.append(after)
                if after not in known:
                    seen.add(after)
            if chain[-1] in known:
                start, end = known[first], known[chain[-1]]
                for index, (_, slot) in enumerate(pairwise(chain[:-1]), start=1):
                    placed[slot] = start + (end - start) * index / (len(chain) - 1)
    return placed


def _span(path: Path, name: str, times: dict[str, tuple[float, float] | str]) -> tuple[float, float]:
    """Return the times of an annotation, or of the one that it refers to, directly or through others."""
    seen = {name}
    found = times.get(name)
    while isinstance(found, str) and found not in seen:
        seen.add(found)
        found = times.get(found)
    if found is None or isinstance(found, str):
        raise AnnotationError("refers to an annotation that the file does not contain", path=path, key=name[:40])
    times.update(dict.fromkeys(seen, found))  # so that no chain is followed twice
    return found
