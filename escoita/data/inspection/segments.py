"""Turn the segments of annotation files into rows."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from escoita.data.annotations import Segment, format_of, read_segments
from escoita.data.annotations.base import MOST_SEGMENTS
from escoita.data.annotations.drafts import DRAFT_FILE, DRAFT_TIER, Placed, compare_drafts, read_drafts
from escoita.data.annotations.rules import EMPTY, UNCHANGED
from escoita.data.inspection.found import Found
from escoita.data.inspection.listing import Listing
from escoita.data.inspection.tiers import choose_tiers, speaker_tiers, tier_lines
from escoita.errors import CorpusError, RecordError


SUFFIXES = (".eaf", ".textgrid", ".srt", ".vtt", ".ctm", ".stm", ".txt", ".json")
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
        chosen (`dict[Path, set[str]]`): The tiers with transcripts of each file; none if the format has no tiers.
        formats (`dict[str, int]`): The number of files of each format.
        notes (`list[str]`): Lines about the tiers, and about files that are not used.
    """

    files: dict[Path, list[Segment]]
    drafts: dict[Path, list[Segment]]
    chosen: dict[Path, set[str]]
    formats: dict[str, int]
    notes: list[str]

    def has_transcript(self, path: Path, segment: Segment) -> bool:
        """Return whether a segment of a file is on a tier with transcripts, or its format has no tiers."""
        return not segment.tier or segment.tier in self.chosen[path]


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
    chosen = choose_tiers(files, tiers)
    return Annotated(files, drafts, chosen, formats, notes + tier_lines(files, chosen))


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
        CorpusError: No tier has one of the given names, all files together have too many segments, or the record of
            drafts is damaged.
    """
    found, annotated = Found(""), read_files(listing, language, tiers)
    found.notes += annotated.notes
    files, formats = annotated.files, annotated.formats
    if not any(files.values()) and not any(annotated.drafts.values()):
        return found if found.notes else None
    corrected = take_corrections(listing, annotated, found, drafts_reviewed)
    of_speakers, named_by_tier = speaker_tiers(files, annotated.chosen), False
    found.layout = "recordings with " + " and ".join(
        f"{_TITLES[name]} ({count:,} file{'s' * (count != 1)})" for name, count in formats.items()
    )
    without = set(listing.recordings)
    for path, segments in files.items():
        for segment in [*segments, *corrected.get(path, ())]:
            if not annotated.has_transcript(path, segment) and not _is_draft(path, segment):
                if segment.text.strip():
                    found.other_tiers[segment.tier] += 1
                continue
            if not segment.text.strip():
                # The intervals of a TextGrid without text are pauses.
                if format_of(path) != "textgrid":
                    found.leave_out(EMPTY, path, segment.start)
                continue
            recording = recording_of(listing, path, segment)
            without.discard(recording or path)
            by_tier = not segment.speaker and (path, segment.tier) in of_speakers
            named_by_tier |= by_tier
            found.tiers[segment.tier] += 1
            found.add(
                recording,
                segment.recording or path.stem,
                segment.text,
                path,
                segment.row,
                id=f"{(recording or path).stem}-{round(1000 * segment.start):08d}",
                speaker=segment.tier if by_tier else segment.speaker,
                offset=segment.start,
                duration=segment.end - segment.start,
            )
    if named_by_tier:
        found.notes.append("Speakers: tiers without a participant have the name of the tier as their speaker")
    if without:
        found.notes.append(
            f"Recordings without a transcribed segment: {len(without):,}, the first: {min(without).name}"
        )
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
                if annotated.has_transcript(path, segment) or _is_draft(path, segment):
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
            found.leave_out(UNCHANGED, path, place.segment.start)
        else:
            kept[path].append(place.segment)
    return kept
