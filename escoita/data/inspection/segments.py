"""Turn the segments of annotation files into rows, and choose the tiers that contain transcripts."""

import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from escoita.data.annotations import Segment, format_of, read_segments
from escoita.data.annotations.base import TRANSCRIPTION
from escoita.data.inspection.found import Found
from escoita.data.inspection.listing import Listing
from escoita.data.readers.base import selection_error
from escoita.errors import CorpusError, RecordError


SUFFIXES = (".eaf", ".textgrid", ".srt", ".vtt", ".ctm", ".stm", ".txt", ".json")
# Tiers with other than transcripts: translations, glosses, notes, parts of words.
_OTHER = re.compile(
    r"transl|traduc|trad(ução|uzione)|gloss|glosa|note|nota|comment|comentario|morph|pos$|phone|fone|^ft|^ge|^ref$|^id$"
    r"|перевод|english|español",
    re.IGNORECASE,
)
# Names of tiers that are shown.
_SHOWN = 6
_TITLES = {
    "elan": "ELAN files",
    "textgrid": "TextGrids",
    "subtitles": "subtitles",
    "audacity": "label tracks of Audacity",
    "label_studio": "exports of Label Studio",
    "ctm": "CTM files",
    "stm": "STM files",
}


def read_annotations(listing: Listing, language: str, tiers: Collection[str] = ()) -> Found | None:
    """
    Read all annotation files of recordings, or return `None` if there are none; files that are damaged are noted.

    Args:
        listing ([`~escoita.data.inspection.listing.Listing`]): The files of the folder.
        language (`str`): The language, which decides between old encodings.
        tiers (`Collection[str]`, *optional*): The names or types of the tiers that contain the transcripts. By default
            they are chosen by name, then by the amount of text.

    Raises:
        CorpusError: No tier has one of the given names.
    """
    found = Found("")
    formats: dict[str, int] = defaultdict(int)
    files: dict[Path, list[Segment]] = {}
    for path in listing.files(*SUFFIXES):
        name = format_of(path)
        if name is None:
            continue
        try:
            files[path] = read_segments(path, language)
        except (CorpusError, RecordError) as error:
            found.notes.append(f"Not used: {error}")
            continue
        formats[name] += 1
    if not any(files.values()):
        return found if found.notes else None
    chosen = _choose_tiers(files, tiers)
    by_kind: dict[str, set[str]] = defaultdict(set)
    for segment in (segment for segments in files.values() for segment in segments if segment.tier in chosen):
        by_kind[segment.kind].add(segment.tier)
    # Several tiers of one type, or of none, are those of speakers.
    of_speakers = {tier for tiers in by_kind.values() if len(tiers) > 1 for tier in tiers} | (
        chosen & set(by_kind) if len(chosen) > 1 else set()
    )
    found.layout = "recordings with " + " and ".join(
        f"{_TITLES[name]} ({count:,} file{'s' * (count != 1)})" for name, count in formats.items()
    )
    empty = others = 0
    for path, segments in files.items():
        for segment in segments:
            if chosen and segment.tier not in chosen:
                others += 1
            elif not segment.text.strip():
                empty += 1
            else:
                name = segment.recording or path.stem
                recording = listing.find(name, path.parent) or listing.find(path.stem, path.parent)
                found.add(
                    recording,
                    name,
                    segment.text,
                    path,
                    segment.row,
                    id=f"{(recording or path).stem}-{round(1000 * segment.start):08d}",
                    speaker=segment.speaker or (segment.tier if segment.tier in of_speakers else ""),
                    offset=segment.start,
                    duration=segment.end - segment.start,
                )
    if chosen:
        shown = ", ".join(sorted(chosen)[:_SHOWN]) + (
            f" and {len(chosen) - _SHOWN:,} others" if chosen and len(chosen) > _SHOWN else ""
        )
        found.notes.append(f"Tiers with transcripts: {shown} ({others:,} segments of other tiers; see --tier)")
    if of_speakers and any(not segment.speaker for each in files.values() for segment in each):
        found.notes.append("Speakers: the names of the tiers that name no participant")
    if empty:
        found.notes.append(f"Empty segments, which are not used: {empty:,}")
    return found


def _choose_tiers(files: dict[Path, list[Segment]], given: Collection[str]) -> set[str]:
    """Return the names of the tiers that contain transcripts; none if the formats have no tiers."""
    texts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for segment in (segment for segments in files.values() for segment in segments if segment.tier):
        texts[segment.kind or segment.tier][segment.tier].append(segment.text.strip())
    if given:
        known = {name for kind, tiers in texts.items() for name in (kind, *tiers)}
        if missing := sorted(set(given) - known):
            raise selection_error("tier not found", sorted(known), key="--tier", value=missing[0])
        return {tier for kind, tiers in texts.items() for tier in tiers if {kind, tier} & set(given)}
    kinds: dict[str, list[str]] = {}
    for kind, tiers in texts.items():
        transcripts = [tier for tier in tiers if TRANSCRIPTION.search(f"{kind} {tier}")]
        usable = [tier for tier in tiers if not _OTHER.search(tier) and not _OTHER.search(kind)]
        kinds[kind] = [tier for tier in usable if tier in transcripts] or usable
    candidates = {kind for kind, tiers in kinds.items() if tiers} or set(texts)
    named = {kind for kind in candidates if any(TRANSCRIPTION.search(f"{kind} {tier}") for tier in kinds[kind])}
    spoken = {kind for kind in candidates if _has_sentences(texts[kind].values())}
    best = named & spoken or named or spoken or candidates
    if not best:
        return set()
    # Types that are the names of single tiers are speakers; of other types, that with most text.
    if not named and all(set(texts[kind]) == {kind} for kind in best):
        return set(best)
    most = max(best, key=lambda kind: sum(len(text) for tier in texts[kind].values() for text in tier))
    return set(kinds[most] or texts[most])


def _has_sentences(tiers: Collection[list[str]]) -> bool:
    """Return whether the segments of tiers often have several words."""
    filled = [text for tier in tiers for text in tier if text]
    return sum(" " in text for text in filled) > 0.3 * len(filled)
