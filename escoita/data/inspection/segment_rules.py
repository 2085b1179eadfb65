"""Apply the rules for segments to the rows of an inspection, and state and record what was left out."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

from escoita.data.annotations.base import Segment
from escoita.data.annotations.rules import SegmentRules, apply_rules
from escoita.data.inspection.found import Found
from escoita.data.rows import Utterance, rejected_by_reason
from escoita.records.preparation import AlignerRecord, PreparationRecord


def leave_out_segments(found: Found, rules: SegmentRules) -> None:
    """
    Leave out the segments that the rules exclude, remove notes in brackets from the others, and count both.

    Rows that are complete recordings are not changed.

    Args:
        found ([`~escoita.data.inspection.found.Found`]): The rows, which are changed in place.
        rules ([`~escoita.data.annotations.rules.SegmentRules`]): The rules.
    """
    by_recording: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(found.rows):
        if row.offset is not None and row.duration is not None:
            by_recording[row.audio].append(index)
    changed: dict[int, Utterance | None] = {}
    for indices in by_recording.values():
        segments = [_segment(found.rows[index]) for index in indices]
        for index, outcome in zip(indices, apply_rules(segments, rules), strict=True):
            row = found.rows[index]
            if isinstance(outcome, str):
                changed[index] = None
                found.leave_out(outcome, row.source, row.offset or 0.0)
            elif outcome.text != row.text:
                changed[index] = replace(row, text=outcome.text)
                found.without_notes += 1
    rows = [changed.get(index, row) for index, row in enumerate(found.rows)]
    found.rows = [row for row in rows if row is not None]
    for reason, count in found.left_out.most_common():
        first = f"; the first: {found.first_left_out[reason]}" if reason in found.first_left_out else ""
        found.notes.append(f"Left out: {count:,} segment{'s' * (count != 1)}: {reason}{first}")
    if found.without_notes:
        found.notes.append(f"Segments from which notes in brackets were removed: {found.without_notes:,}")


def preparation_record(
    source: str | Path, found: Found, rules: SegmentRules, aligner: AlignerRecord | None
) -> PreparationRecord:
    """
    Return the record of a preparation.

    Args:
        source (`str` or `Path`): The folder or file of the recordings.
        found ([`~escoita.data.inspection.found.Found`]): The rows after all rules and the alignment.
        rules ([`~escoita.data.annotations.rules.SegmentRules`]): The rules for segments.
        aligner ([`~escoita.records.preparation.AlignerRecord`], *optional*): The aligner, if there is one.
    """
    return PreparationRecord(
        source=Path(source).resolve().name,
        layout=found.layout,
        overlap=rules.overlap,
        notes=rules.notes,
        drafts_reviewed=rules.drafts_reviewed,
        rows=len(found.rows),
        audio_seconds=round(sum(row.duration or 0.0 for row in found.rows), 3),
        speakers=len({row.speaker for row in found.rows} - {""}),
        without_notes=found.without_notes,
        tiers=dict(found.tiers) if set(found.tiers) != {""} else {},
        other_tiers=dict(found.other_tiers),
        left_out=dict(found.left_out),
        rounds=found.rounds,
        rejected=dict(Counter({each[0].reason: len(each) for each in rejected_by_reason(found.rejected)})),
        aligner=aligner,
    )


def _segment(row: Utterance) -> Segment:
    start, length = row.offset or 0.0, row.duration or 0.0
    return Segment("", start, start + length, row.text)
