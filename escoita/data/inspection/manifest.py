"""Check the rows of an inspection, divide them, and write them as a manifest."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from escoita.data.clips import Measure, filter_clips
from escoita.data.inspection.found import Found
from escoita.data.rows import Rejected, Utterance, Utterances
from escoita.data.splits import SEED, divide, divide_training
from escoita.errors import CorpusError
from escoita.records.data import Split
from escoita.utils.formatting import shortened


# The reason for which rows are in no split.
UNUSED = "a sentence or a speaker of the test, or another split"
# Characters of a transcript that is shown as an example.
_EXAMPLE = 100
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Division:
    """
    Store usable rows with their splits.

    Args:
        rows (`list[Utterance]`): The usable rows with their measured lengths.
        names (`list[str | None]`): The split of each row; `None` if it is not used.
        by (`str`, *optional*): `speaker` or `clip` if the rows were divided here; `None` if they had splits.
        rejected (`list[Rejected]`): The rows that cannot be used.
        notes (`list[str]`): Lines about choices that were made.
    """

    rows: list[Utterance]
    names: list[Split | None]
    by: Literal["speaker", "clip"] | None
    rejected: list[Rejected]
    notes: list[str] = field(default_factory=list)

    def size(self, split: Split | None) -> tuple[int, float, int]:
        """Return the number of clips of a split, their seconds, and the number of named speakers."""
        rows = [row for row, name in zip(self.rows, self.names, strict=True) if name == split]
        return len(rows), sum(row.audio_seconds for row in rows), len({row.speaker for row in rows} - {""})

    def outcome(self, found: Found) -> Found:
        """
        Return an inspection with the rows that are written, and with all others counted.

        Args:
            found ([`~escoita.data.inspection.found.Found`]): The rows before they were checked.
        """
        rows = [row for row, name in zip(self.rows, self.names, strict=True) if name is not None]
        left_out = found.left_out.copy()
        if unused := len(self.rows) - len(rows):
            left_out[UNUSED] += unused
        return replace(found, rows=rows, rejected=self.rejected, left_out=left_out)


def check_and_divide(found: Found, max_audio_seconds: float, seed: int = SEED) -> Division:
    """
    Decode all clips, reject those that cannot be used, and divide the others unless they have splits.

    Of several rows with one recording and different transcripts, the first is used: the others would be contradictory
    training data, or have the recording in training and test.

    Args:
        found ([`~escoita.data.inspection.found.Found`]): The rows.
        max_audio_seconds (`float`): The longest clip that a model takes, in seconds.
        seed (`int`, *optional*): The seed of the splits.

    Raises:
        CorpusError: No row can be used, or the rows cannot be divided.
    """

    def reject(text: str, measure: Measure) -> str:
        if measure.seconds > max_audio_seconds:
            limit = f"the {max_audio_seconds:g} s that models take"
            return f"{measure.seconds:.1f} s is longer than {limit}; cut it, or let --aligner do so"
        return measure.reason

    rows, _, broken = filter_clips(Utterances.of(found.rows).with_unique_ids(), "Checking clips", reject)
    rejected = [*found.rejected, *broken]
    usable, others, notes = _one_transcript_each(rows)
    rejected += others
    if not usable:
        raise CorpusError("none of the rows can be used; the first: " + str(rejected[0]))
    texts, speakers = [row.text for row in usable], [row.speaker for row in usable]
    own = [row.split for row in usable]
    if not {"train", "test"} <= set(own):
        splits = divide(texts, speakers, seed)
        return Division(usable, splits.names, splits.by, rejected, notes)
    names: list[Split | None] = [next((name for name in SPLITS if name == split), None) for split in own]
    if "validation" not in own:
        training = [index for index, name in enumerate(names) if name == "train"]
        parts = divide_training([texts[index] for index in training], [speakers[index] for index in training], seed)
        for index, name in zip(training, parts, strict=True):
            names[index] = name
    return Division(usable, names, None, rejected, notes)


def _one_transcript_each(rows: Iterable[Utterance]) -> tuple[list[Utterance], list[Rejected], list[str]]:
    """Return the rows without those whose recording has another transcript in an earlier row, these, and a line."""
    firsts: dict[tuple[str, float | None, float | None], Utterance] = {}
    kept, others, example = [], [], ""
    for row in rows:
        first = firsts.setdefault((row.audio, row.offset, row.duration), row)
        if first.text == row.text:
            kept.append(row)
            continue
        others.append(
            Rejected(row.source, row.row, row.audio, f"another transcript than that of row {first.row}, which is used")
        )
        texts = [repr(shortened(each.text, _EXAMPLE)) for each in (first, row)]
        example = example or f"{row.audio}: {texts[0]} ({first.source}:{first.row}) is used, {texts[1]} is not"
    line = f"Rows that give a recording a second transcript: {len(others):,}; the first: {example}"
    return kept, others, [line] if others else []


def manifest_lines(division: Division, root: Path, scores: Mapping[str, float] | None = None) -> Iterator[str]:
    """
    Yield the rows as JSON lines with their splits; paths are relative to a folder.

    Args:
        division ([`Division`]): The rows and their splits.
        root (`Path`): The folder, which is the `audio_root` of the corpus.
        scores (`Mapping[str, float]`, *optional*): The score of each aligned clip by its id.
    """
    for row, split in zip(division.rows, division.names, strict=True):
        if split is not None:
            yield manifest_line(row, root, split, scores)


def manifest_line(row: Utterance, root: Path, split: str = "", scores: Mapping[str, float] | None = None) -> str:
    """
    Return a row as a JSON line.

    Args:
        row ([`~escoita.data.rows.Utterance`]): The row.
        root (`Path`): The folder that the path of the recording is relative to.
        split (`str`, *optional*, defaults to `""`): The split; empty for none.
        scores (`Mapping[str, float]`, *optional*): The score of each aligned clip by its id.
    """
    values = {
        "id": row.id,
        "audio_filepath": Path(os.path.relpath(row.audio, root)).as_posix(),
        "text": row.text,
        "speaker": row.speaker,
        "gender": row.gender,
        "lang": row.language,
        "split": split,
    }
    line: dict[str, Any] = {name: value for name, value in values.items() if value}
    if row.offset is not None:
        line |= {"offset": round(row.offset, 3), "duration": round(row.duration or 0.0, 3)}
    if scores and row.id in scores:
        line["score"] = scores[row.id]
    return json.dumps(line, ensure_ascii=False)
