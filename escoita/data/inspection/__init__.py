"""Inspect folders, files and datasets, and find their recordings and transcripts."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from escoita.data.annotations.rules import SegmentRules
from escoita.data.inspection.extraction import extract_tar
from escoita.data.inspection.folders import read_kaldi, read_lhotse, read_librispeech, read_texts
from escoita.data.inspection.found import Found
from escoita.data.inspection.listing import Listing
from escoita.data.inspection.native import common_voice, fleurs, hub, parquet
from escoita.data.inspection.segment_rules import leave_out_segments
from escoita.data.inspection.segments import read_annotations
from escoita.data.inspection.table_rows import read_all_tables
from escoita.data.inspection.tables import SUFFIXES
from escoita.errors import CorpusError
from escoita.recipe.schema import Column
from escoita.utils.languages import same_language


ARCHIVES = (".tar", ".tgz", ".tar.gz")


class UnknownLayoutError(CorpusError):
    """
    Report a folder in which no recordings with transcripts were found.

    Args:
        recordings (`int`): The number of recordings.
    """

    problem = "{recordings:,} recordings, but no transcripts of them were found"
    hint = (
        "put a table with the names of the recordings and their transcripts into the folder, a text file next to each"
        " recording, or annotation files of ELAN, Praat or another tool"
    )
    recordings: int


class LeftOutError(CorpusError):
    """
    Report annotations whose segments are all excluded by the rules.

    Args:
        counts (`str`): The number of segments by reason.
    """

    problem = "none of the segments can be used ({counts})"
    hint = (
        "`escoita prepare` has options for drafts that were checked (--drafts-reviewed), overlapping speech and notes"
    )
    counts: str


def inspect(
    source: str,
    language: str,
    extracted: Path,
    columns: Mapping[Column, str] | None = None,
    tiers: Collection[str] = (),
    rules: SegmentRules | None = None,
) -> Found:
    """
    Find the recordings and transcripts of a folder, a file or a dataset of the Hub; nothing is decoded.

    Args:
        source (`str`): A folder, a table, an archive, or a repository of the Hub.
        language (`str`): The language of the transcripts.
        extracted (`Path`): The folder into which recordings are written that are embedded in archives or tables; it is
            only created for such sources.
        columns (`Mapping[Column, str]`, *optional*): Names of columns that are not recognized by themselves.
        tiers (`Collection[str]`, *optional*): Names of the tiers with transcripts, of annotation files.
        rules ([`~escoita.data.annotations.rules.SegmentRules`], *optional*): The rules for segments of recordings.

    Returns:
        [`~escoita.data.inspection.found.Found`]: The rows, or the corpora that a reader reads as they are.

    Raises:
        UnknownLayoutError: No transcripts were found.
        LeftOutError: The rules leave out all segments.
        CorpusError: The source is not found, is damaged or too large.
    """
    path = Path(source)
    if not path.exists():
        if source.count("/") == 1 and not source.startswith((".", "/", "~")):
            return hub(source, language, extracted)
        raise CorpusError("not found", path=source)
    rules = rules or SegmentRules()
    listing = Listing(path)
    found = None
    if path.is_dir():
        found = _in_folder(listing, path, language, extracted, columns or {}, tiers, rules.drafts_reviewed)
    if path.suffix.lower() == ".parquet":
        found = parquet(path, [path], language, extracted)
    elif path.name.lower().endswith(ARCHIVES):
        found = extract_tar([path], extracted)
    elif not path.is_dir():
        found = _annotations_of(path, listing, language, tiers, rules.drafts_reviewed)
        if not found or (not (found.rows or found.left_out) and path.suffix.lower() in SUFFIXES):
            found = read_all_tables(listing, [path], language, columns or {}, required=True)
    if found:
        leave_out_segments(found, rules)
    if found and found.left_out and not found.rows:
        counts = "; ".join(f"{reason}: {count:,}" for reason, count in found.left_out.most_common())
        raise LeftOutError(path=source, counts=counts)
    if found and found.rejected and not (found.rows or found.native):
        raise CorpusError(f"none of the {len(found.rejected):,} rows can be used; the first: {found.rejected[0]}")
    if not found or not (found.rows or found.native):
        hint = found.notes[0] if found and found.notes else None
        raise UnknownLayoutError(path=source, recordings=len(listing.recordings), hint=hint)
    found.rows = [
        replace(row, language="") if row.language and same_language(row.language, language) else row
        for row in found.rows
    ]
    if listing.outside:
        found.notes.append(f"Links to files outside of the folder, which are not followed: {listing.outside:,}")
    if listing.unnamed:
        found.notes.append(f"Files whose names are not valid Unicode, which are not used: {listing.unnamed:,}")
    return found


def _in_folder(
    listing: Listing,
    path: Path,
    language: str,
    extracted: Path,
    columns: Mapping[Column, str],
    tiers: Collection[str],
    reviewed: bool,
) -> Found | None:
    """Read a folder in the first layout that fits."""
    for native in (common_voice, fleurs):
        if found := native(listing, path, language, extracted):
            return found
    unusable = None
    for read in (read_kaldi, read_librispeech, read_lhotse):
        found = read(listing, language)
        if found and found.rows:
            return found
        unusable = unusable or found
    annotated = read_annotations(listing, language, tiers, reviewed)
    tables = read_all_tables(listing, listing.files(*SUFFIXES), language, columns)
    # A table that lists recordings, such as one of metadata, has far fewer rows than the recordings have segments.
    if annotated and annotated.rows and (tiers or len(annotated.rows) > 3 * len(tables.rows)):
        annotated.notes += _damaged(tables)
        return annotated
    damaged = _damaged(annotated) if annotated else []
    if tables.rows:
        tables.notes += damaged
        return tables
    texts = read_texts(listing, language)
    if texts and texts.rows:
        texts.notes += damaged
        return texts
    unusable = unusable or texts
    if files := listing.files(".parquet"):
        return parquet(path, files, language, extracted)
    archives = [each for each in listing.files(".tar", ".tgz", ".gz") if each.name.lower().endswith(ARCHIVES)]
    return extract_tar(archives, extracted) if archives else unusable or annotated or tables


def _damaged(found: Found) -> list[str]:
    """Return the lines about files that cannot be read."""
    return [line for line in found.notes if line.startswith("Not used")]


def _annotations_of(
    path: Path, listing: Listing, language: str, tiers: Collection[str], reviewed: bool
) -> Found | None:
    """Read one annotation file, without the others of its folder."""
    listing.by_suffix = {path.suffix.lower(): [path]}
    return read_annotations(listing, language, tiers, reviewed)
