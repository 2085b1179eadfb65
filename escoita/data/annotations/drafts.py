"""Record the drafts that a model wrote into annotation files, and compare them with what people made of them."""

import json
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import frexp
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from escoita.data.annotations.base import Segment
from escoita.errors import CorpusError
from escoita.metrics.wer import character_edits, word_edits
from escoita.records.preparation import DraftRound
from escoita.records.training import RecordModel
from escoita.utils.files import write_atomically
from escoita.utils.limits import MEBIBYTE, read_bounded


# The record of all drafts in a folder of recordings; its suffix is that of no table.
DRAFTS = "escoita.drafts"
RECORD_BYTES = 64 * MEBIBYTE
# Tiers of drafts, and names of subtitles with drafts.
DRAFT_TIER = re.compile(r"draft-(\d{1,6})(@.*)?", re.DOTALL)
DRAFT_FILE = re.compile(r"(.+)\.draft-\d{1,6}", re.DOTALL)
# The share of the shorter one of two segments that must be common.
_SHARE = 0.5


class Draft(RecordModel):
    """
    Store one drafted segment.

    Args:
        round (`int`): The number of the round, from 1.
        model (`str`): The model.
        file (`str`): The annotation file that received it, relative to the folder, with `/`.
        recording (`str`): The recording, relative to the folder, with `/`.
        tier (`str`): The tier; empty if the format has none.
        start (`float`): The start in seconds.
        end (`float`): The end in seconds.
        text (`str`): The text of the model.
    """

    round: int = Field(ge=1)
    model: str
    file: str
    recording: str
    tier: str
    start: float
    end: float
    text: str


def read_drafts(folder: Path) -> list[Draft]:
    """
    Return the recorded drafts of a folder; none if it has no record.

    Args:
        folder (`Path`): The folder of the recordings.

    Raises:
        CorpusError: The record is damaged.
    """
    path = folder / DRAFTS
    try:
        content = read_bounded(path, RECORD_BYTES)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CorpusError(f"cannot be read ({error.strerror})", path=path) from error
    drafts = []
    for row, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            try:
                drafts.append(Draft.from_json(line))
            except ValueError as error:
                raise CorpusError(f"not a draft ({error})", path=path, row=row) from error
    return drafts


def add_drafts(folder: Path, drafts: Iterable[Draft]) -> None:
    """Add drafts to the record of a folder."""
    known = [*read_drafts(folder), *drafts]
    lines = (json.dumps(each.model_dump(), ensure_ascii=False) + "\n" for each in known)
    write_atomically(folder / DRAFTS, "".join(lines))


class Placed(NamedTuple):
    """
    Store a segment with its recording.

    Args:
        recording (`str`): The recording, relative to the folder, with `/`.
        segment ([`~escoita.data.annotations.Segment`]): The segment.
    """

    recording: str
    segment: Segment


class Times:
    """
    Find intervals of recordings by time; those of similar length are sorted together, so that few others are passed.

    Args:
        intervals (`Iterable[tuple[str, float, float]]`): The recording, the start and the end in seconds of each.
    """

    def __init__(self, intervals: Iterable[tuple[str, float, float]]):
        self._groups: dict[str, dict[int, list[tuple[float, float, int]]]] = defaultdict(lambda: defaultdict(list))
        for index, (recording, start, end) in enumerate(intervals):
            self._groups[recording][frexp(end - start)[1]].append((start, end, index))
        for groups in self._groups.values():
            for times in groups.values():
                times.sort()

    def overlapping(self, recording: str, start: float, end: float) -> list[tuple[float, float, int]]:
        """Return the start, the end and the index of the intervals with a time in common with another, in order."""
        found = []
        for exponent, times in self._groups.get(recording, {}).items():
            for place in range(bisect_left(times, (start - 2.0**exponent, 0.0, -1)), len(times)):
                begin, stop, index = times[place]
                if begin >= end:
                    break
                if max(begin, start) < min(stop, end):
                    found.append((begin, stop, index))
        return sorted(found)


def compare_drafts(
    drafts: Sequence[Draft], drafted: Sequence[Placed], others: Sequence[Placed], reviewed: bool
) -> tuple[list[DraftRound], set[int], set[int]]:
    """
    Compare drafts with the present segments.

    The correction of a draft is the text that a person wrote at its time into a tier of transcripts, else the present
    text in the tier of the draft.

    Args:
        drafts (`Sequence[Draft]`): The recorded drafts.
        drafted (`Sequence[Placed]`): The present segments in tiers and files of drafts.
        others (`Sequence[Placed]`): The present segments of other tiers with transcripts.
        reviewed (`bool`): Whether a person checked all drafts, so that unchanged ones count as correct.

    Returns:
        `tuple[list[DraftRound], set[int], set[int]]`: The rounds; the indices of segments in `drafted` that nobody
        changed; and the indices of those that another tier replaces.
    """
    in_drafts, in_others = (
        Times((recording, segment.start, segment.end) for recording, segment in placed) for placed in (drafted, others)
    )
    unchanged: set[int] = set()
    replaced: set[int] = set()
    pairs: dict[int, list[tuple[Draft, str | None, bool]]] = defaultdict(list)
    for draft in drafts:
        speaker = draft.tier.partition("@")[2]
        elsewhere = [
            index
            for index in _alike(in_others, draft)
            if others[index].segment.text.strip() and (not speaker or others[index].segment.speaker in ("", speaker))
        ]
        own = [index for index in _alike(in_drafts, draft) if drafted[index].segment.tier == draft.tier]
        chosen, source = (elsewhere, others) if elsewhere else (own, drafted)
        text = _joined(source[index].segment for index in chosen)
        if elsewhere:
            replaced |= set(own)
        same = text == " ".join(draft.text.split())
        if same and not elsewhere:
            unchanged |= set(own)
        pairs[draft.round].append((draft, text or None, same))
    for number, place in enumerate(drafted):  # segments that a person added to a tier of drafts, and then copied
        speaker = place.segment.speaker
        if any(
            others[index].segment.text.strip() and (not speaker or others[index].segment.speaker in ("", speaker))
            for index in _alike(in_others, place)
        ):
            replaced.add(number)
    rounds = [_round(number, found, reviewed) for number, found in sorted(pairs.items())]
    return rounds, unchanged - replaced, replaced


def _round(number: int, pairs: list[tuple[Draft, str | None, bool]], reviewed: bool) -> DraftRound:
    compared = [(draft.text, text) for draft, text, same in pairs if text is not None and (reviewed or not same)]
    corrections, texts = [text for _, text in compared], [text for text, _ in compared]
    words, characters = word_edits(corrections, texts), character_edits(corrections, texts)
    return DraftRound(
        round=number,
        model=pairs[0][0].model,
        segments=len(pairs),
        changed=sum(text is not None and not same for _, text, same in pairs),
        unchanged=sum(same for _, _, same in pairs),
        removed=sum(text is None for _, text, _ in pairs),
        word_edits=int(words.total.sum()),
        words=int(words.reference.sum()),
        character_edits=int(characters.total.sum()),
        characters=int(characters.reference.sum()),
    )


def _joined(segments: Iterable[Segment]) -> str:
    return " ".join(" ".join(each.text for each in sorted(segments, key=lambda each: each.start)).split())


def _alike(index: Times, segment: Draft | Placed) -> list[int]:
    """Return the indices of segments that have most of their time, or of that of another one, in common."""
    start, end = (segment.start, segment.end) if isinstance(segment, Draft) else segment.segment[1:3]
    return [
        number
        for begin, stop, number in index.overlapping(segment.recording, start, end)
        if min(end, stop) - max(start, begin) > _SHARE * min(end - start, stop - begin)
    ]
