"""Represent the rows that an inspection finds, before they are checked and divided."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from escoita.data.inspection.turns import Turn
from escoita.data.rows import Rejected, Utterance
from escoita.records.data import Split
from escoita.records.preparation import DraftRound
from escoita.utils.formatting import is_unicode, time_code
from escoita.utils.limits import RECORDING_SECONDS


@dataclass
class Found:
    """
    Store what a folder, a file or a dataset contains.

    Args:
        layout (`str`): The name of the layout, for people.
        rows (`list[Utterance]`): The rows with a recording and a transcript; their `split` is `train`, `validation`,
            `test` or empty.
        rejected (`list[Rejected]`): The other rows.
        notes (`list[str]`): Lines about choices that were made.
        native (`dict[str, dict]`): For each split, the keys of a corpus that a reader reads as it is; then there are
            no rows.
        left_out (`Counter[str]`): The number of segments that a rule excludes, by reason.
        first_left_out (`dict[str, str]`): The file and time of the first of them, by reason.
        tiers (`Counter[str]`): The number of segments with text of each tier with transcripts.
        other_tiers (`Counter[str]`): The number of segments with text of each other tier.
        rounds (`list[DraftRound]`): The corrections of drafts, by round.
        without_notes (`int`): The number of transcripts from which notes in brackets were removed.
        turns (`dict[str, list[Turn]]`): The turns of transcripts that name their speakers, by the path of the
            recording; the texts of the rows are without the names.
    """

    layout: str
    rows: list[Utterance] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    native: dict[Split, dict[str, Any]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    first_left_out: dict[str, str] = field(default_factory=dict)
    tiers: Counter[str] = field(default_factory=Counter)
    other_tiers: Counter[str] = field(default_factory=Counter)
    rounds: list[DraftRound] = field(default_factory=list)
    without_notes: int = 0
    turns: dict[str, list[Turn]] = field(default_factory=dict)

    def leave_out(self, reason: str, path: Path | str, start: float) -> None:
        """
        Count a segment that a rule excludes.

        Args:
            reason (`str`): The reason.
            path (`Path` or `str`): The file that contains the segment.
            start (`float`): The start of the segment in seconds.
        """
        self.left_out[reason] += 1
        self.first_left_out.setdefault(reason, f"{Path(path).name} at {time_code(start)}")

    def add(self, recording: Path | None, name: str, text: str, source: Path, row: int, **values: Any) -> None:
        """
        Add a row, or the reason why it cannot be used.

        Args:
            recording (`Path`, *optional*): The recording.
            name (`str`): The name of the recording as the source has it, for a rejected row.
            text (`str`): The transcript.
            source (`Path`): The file that contains the row.
            row (`int`): The line or row, from 1.
            values (`Any`): Other values of the utterance: speaker, gender, language, split, offset, duration, id.
        """
        text = " ".join(text.split())
        if recording is None:
            reason = "no such file" if name.strip() else "names no recording"
        elif not text:
            reason = "empty transcript"
        elif any("\0" in each or not is_unicode(each) for each in (text, *values.values()) if isinstance(each, str)):
            reason = "contains NUL, or is not valid Unicode"
        elif not all(0 <= (values.get(key) or 0) < RECORDING_SECONDS for key in ("offset", "duration")):
            reason = "has no times of a segment"
        else:
            values = {"id": recording.stem, "language": "", **values}
            self.rows.append(
                Utterance(audio=str(recording), text=text, corpus="", source=str(source), row=row, **values)
            )
            return
        self.rejected.append(Rejected(str(source), row, str(recording or name), reason))
