"""Describe the rows of a preparation: their record, and the scores of aligned clips."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from escoita.data.annotations.rules import SegmentRules
from escoita.data.inspection.found import Found
from escoita.data.rows import rejected_by_reason
from escoita.records.preparation import AlignerRecord, PreparationRecord


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


def with_scores(lines: Iterable[str], scores: Mapping[str, float]) -> Iterator[str]:
    """
    Yield rows as JSON lines with their scores.

    Args:
        lines (`Iterable[str]`): The rows as JSON lines.
        scores (`Mapping[str, float]`): The score of each aligned clip by its id.
    """
    for line in lines:
        values = json.loads(line) if scores else {}
        score = scores.get(values.get("id", ""))
        yield line if score is None else json.dumps({**values, "score": score}, ensure_ascii=False)
