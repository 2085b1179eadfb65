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
from escoita.errors import CorpusError


SUFFIXES = (".eaf", ".textgrid", ".srt", ".vtt", ".ctm", ".stm", ".txt", ".json")
# Tiers with other than transcripts: translations, glosses, notes, parts of words.
_OTHER = re.compile(
    r"transl|traduc|trad(ução|uzione)|gloss|glosa|note|nota|comment|comentario|morph|pos$|phone|fone|^ft|^ge|^ref$|^id$"
    r"|перевод|english|español",
    re.IGNORECASE,
)
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
    Read all annotation files of recordings, or return `None` if there are none.

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
        except CorpusError as error:
            found.notes.append(f"Not used: {error}")
            continue
        formats[name] += 1
    if not any(files.values()):
        return None
    kinds = _kinds(files, tiers)
    found.layout = "recordings with " + " and ".join(f"{count} {_TITLES[name]}" for name, count in formats.items())
    empty = others = 0
    for path, segments in files.items():
        for segment in segments:
            if kinds and (segment.kind or segment.tier) not in kinds:
                others += 1
            elif not segment.text.strip():
                empty += 1
            else:
                name = segment.recording or path.stem
                recording = listing.find(name, path.parent) or listing.find(path.stem, path.parent)
                length = segment.end - segment.start
                found.add(
                    recording,
                    name,
                    segment.text,
                    path,
                    segment.row,
                    id=f"{(recording or path).stem}-{round(1000 * segment.start):08d}",
                    speaker=segment.speaker,
                    offset=segment.start,
                    duration=length,
                )
    if kinds:
        found.notes.append(f"Tiers with transcripts: {', '.join(sorted(kinds))} ({others:,} segments of other tiers)")
    if empty:
        found.notes.append(f"Empty segments, which are not used: {empty:,}")
    return found if found.rows else None


def _kinds(files: dict[Path, list[Segment]], tiers: Collection[str]) -> set[str]:
    """Return the types of the tiers that contain transcripts; none if the formats have no tiers."""
    texts: dict[str, list[str]] = defaultdict(list)
    names: dict[str, set[str]] = defaultdict(set)
    for segment in (segment for segments in files.values() for segment in segments):
        if kind := segment.kind or segment.tier:
            names[kind] |= {segment.tier, kind}
            if segment.text.strip():
                texts[kind].append(segment.text)
    if tiers:
        wanted = {kind for kind, known in names.items() if known & set(tiers)}
        missing = set(tiers) - {name for known in names.values() for name in known}
        if missing:
            known = sorted({name for each in names.values() for name in each})
            raise selection_error("tier not found", known, key="--tier", value=sorted(missing)[0])
        return wanted
    if not texts:
        return set()
    named = {kind for kind in texts if any(map(TRANSCRIPTION.search, names[kind]))}
    usable = {kind for kind in texts if not any(map(_OTHER.search, names[kind] - named))}
    spoken = {kind for kind in usable if sum(" " in text.strip() for text in texts[kind]) > 0.3 * len(texts[kind])}
    candidates = named & spoken or named or spoken or usable or set(texts)
    # Tiers of speakers, named by nothing else, are all transcripts: they do not overlap in meaning.
    longest = max(candidates, key=lambda kind: sum(map(len, texts[kind])))
    if named or any(segment.kind != segment.tier for each in files.values() for segment in each):
        return {longest}
    return candidates
