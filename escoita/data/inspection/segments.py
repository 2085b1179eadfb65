"""Turn the segments of annotation files into rows, and choose the tiers that contain transcripts."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from escoita.data.annotations import Segment, format_of, read_segments
from escoita.data.annotations.base import MOST_SEGMENTS, TRANSCRIPTION
from escoita.data.annotations.drafts import DRAFT_FILE, DRAFT_TIER, Placed, compare_drafts, read_drafts
from escoita.data.annotations.rules import EMPTY, UNCHANGED
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


class Annotated(NamedTuple):
    """
    Store the annotation files of a folder.

    Args:
        files (`dict[Path, list[Segment]]`): The segments of each file, without drafts.
        drafts (`dict[Path, list[Segment]]`): The segments of each file in tiers of drafts.
        chosen (`set[str]`): The tiers with transcripts; empty if the formats have no tiers.
        formats (`dict[str, int]`): The number of files of each format.
        notes (`list[str]`): Lines about files that are not used.
    """

    files: dict[Path, list[Segment]]
    drafts: dict[Path, list[Segment]]
    chosen: set[str]
    formats: dict[str, int]
    notes: list[str]


def read_files(listing: Listing, language: str, tiers: Collection[str] = ()) -> Annotated:
    """
    Read all annotation files, and choose the tiers with transcripts.

    Args:
        listing ([`~escoita.data.inspection.listing.Listing`]): The files of the folder.
        language (`str`): The language, which decides between old encodings.
        tiers (`Collection[str]`, *optional*): The names or types of the tiers that contain the transcripts.

    Raises:
        CorpusError: No tier has one of the given names, or all files together have too many segments.
    """
    files, drafts, notes = dict[Path, list[Segment]](), dict[Path, list[Segment]](), list[str]()
    formats: dict[str, int] = defaultdict(int)
    count = 0
    for path in listing.files(*SUFFIXES):
        name = format_of(path)
        if name is None:
            continue
        try:
            segments = read_segments(path, language)
        except (CorpusError, RecordError) as error:
            notes.append(f"Not used: {error}")
            continue
        formats[name] += 1
        count += len(segments)
        if count > MOST_SEGMENTS:
            raise CorpusError(f"the annotation files have more than {MOST_SEGMENTS:,} segments", path=listing.root)
        of_file = DRAFT_FILE.fullmatch(path.stem)
        if of_file:
            segments = [each._replace(recording=each.recording or of_file[1]) for each in segments]
        drafts[path] = [each for each in segments if of_file or DRAFT_TIER.fullmatch(each.tier)]
        files[path] = [each for each in segments if not (of_file or DRAFT_TIER.fullmatch(each.tier))]
    return Annotated(files, drafts, _choose_tiers(files, tiers), formats, notes)


def recording_of(listing: Listing, path: Path, segment: Segment) -> Path | None:
    """Return the recording of a segment, or `None` if it is not among the listed files."""
    name = segment.recording or path.stem
    return listing.find(name, path.parent) or listing.find(path.stem, path.parent)


def read_annotations(
    listing: Listing, language: str, tiers: Collection[str] = (), drafts_reviewed: bool = False
) -> Found | None:
    """
    Read all annotation files of recordings, or return `None` if there are none; files that are damaged are noted.

    Args:
        listing ([`~escoita.data.inspection.listing.Listing`]): The files of the folder.
        language (`str`): The language, which decides between old encodings.
        tiers (`Collection[str]`, *optional*): The names or types of the tiers that contain the transcripts. By default
            they are chosen by name, then by the amount of text.
        drafts_reviewed (`bool`, *optional*, defaults to `False`): Whether unchanged drafts are used.

    Raises:
        CorpusError: No tier has one of the given names.
    """
    found, annotated = Found(""), read_files(listing, language, tiers)
    found.notes += annotated.notes
    files, chosen, formats = annotated.files, annotated.chosen, annotated.formats
    if not any(files.values()) and not any(annotated.drafts.values()):
        return found if found.notes else None
    corrected = take_corrections(listing, annotated, found, drafts_reviewed)
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
    others = 0
    for path, segments in files.items():
        for segment in [*segments, *corrected.get(path, ())]:
            if chosen and segment.tier not in chosen and not _is_draft(path, segment):
                others += 1
            elif not segment.text.strip():
                found.left_out[EMPTY] += 1
                found.first_left_out.setdefault(EMPTY, f"{path}:{segment.row}")
            else:
                recording = recording_of(listing, path, segment)
                found.add(
                    recording,
                    segment.recording or path.stem,
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
    return found


def _is_draft(path: Path, segment: Segment) -> bool:
    return bool(DRAFT_TIER.fullmatch(segment.tier) or DRAFT_FILE.fullmatch(path.stem))


def take_corrections(
    listing: Listing, annotated: Annotated, found: Found, reviewed: bool
) -> dict[Path, list[Segment]]:
    """
    Return the drafted segments that people corrected, by file; count the others, and add the rounds of drafts.

    Args:
        listing ([`~escoita.data.inspection.listing.Listing`]): The files of the folder.
        annotated ([`Annotated`]): The annotation files.
        found ([`~escoita.data.inspection.found.Found`]): The result, which receives rounds and counts.
        reviewed (`bool`): Whether unchanged drafts are used.

    Raises:
        CorpusError: The record of drafts is damaged.
    """
    drafts = read_drafts(listing.root)

    def placed(files: dict[Path, list[Segment]]) -> Iterator[tuple[Path, Placed]]:
        for path, segments in files.items():
            for segment in segments:
                if not annotated.chosen or _is_draft(path, segment) or segment.tier in annotated.chosen:
                    recording = recording_of(listing, path, segment)
                    name = recording.relative_to(listing.root).as_posix() if recording else ""
                    yield path, Placed(name, segment)

    drafted = list(placed(annotated.drafts))
    if not drafts and not drafted:
        return {}
    others = [place for _, place in placed(annotated.files)]
    found.rounds, unchanged, replaced = compare_drafts(drafts, [place for _, place in drafted], others, reviewed)
    if not drafts and not reviewed:  # nobody knows what the model wrote
        unchanged = set(range(len(drafted))) - replaced
    kept: dict[Path, list[Segment]] = defaultdict(list)
    for index, (path, place) in enumerate(drafted):
        if index in replaced or not place.segment.text.strip():
            continue
        if index in unchanged and not reviewed:
            found.left_out[UNCHANGED] += 1
            found.first_left_out.setdefault(UNCHANGED, f"{path}:{place.segment.row}")
        else:
            kept[path].append(place.segment)
    return kept


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
