from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from escoita.data.loading import Gathered
from escoita.data.rows import Utterance, Utterances
from escoita.errors import ChangedDataError
from escoita.records.training import CorpusUse
from escoita.training.resume import DataState, refuse_unused_data, resumed_data


def row(folder: Path, number: int, **changes: Any) -> Utterance:
    recording = folder / f"{number}.wav"
    recording.write_bytes(b"\0" * 100)
    made = Utterance(
        id=str(number),
        audio=str(recording),
        text=f"text {number}",
        corpus="clips",
        language="uz",
        source="train.jsonl",
        row=number,
        audio_seconds=1.5,
    )
    return replace(made, **changes)


def state(train: list[Utterance], validation: list[Utterance]) -> DataState:
    clips: dict[str, Gathered] = {
        split: {"clips": (Utterances.of(rows), [])} for split, rows in (("train", train), ("validation", validation))
    }
    use = CorpusUse(name="clips", split="train", utterances=len(train), audio_seconds=1.5 * len(train), rejected=0)
    return DataState.of(clips, [use])


@pytest.fixture
def rows(tmp_path: Path) -> list[Utterance]:
    return [row(tmp_path, number) for number in range(6)]


@pytest.fixture
def checkpoint(tmp_path: Path, rows: list[Utterance]) -> Path:
    """A checkpoint of step 10, of four rows of training and two of validation."""
    folder = tmp_path / "checkpoint-10"
    folder.mkdir()
    state(rows[:4], rows[4:]).write(folder)
    return folder


def test_the_same_rows_resume(checkpoint: Path, rows: list[Utterance]) -> None:
    now = state(rows[:4], rows[4:])
    assert DataState.read(checkpoint) == now
    for accept in (False, True):
        assert resumed_data(checkpoint, now, accept) == now
    assert resumed_data(None, now, False) == now


def test_where_the_recordings_are_does_not_count(checkpoint: Path, rows: list[Utterance], tmp_path: Path) -> None:
    moved = [replace(row(tmp_path, 90 + index), id=each.id, text=each.text) for index, each in enumerate(rows)]
    assert resumed_data(checkpoint, state(moved[:4], moved[4:]), False).changes == []


@pytest.mark.parametrize(
    "changes",
    [{"text": "another"}, {"audio_seconds": 1.6}, {"offset": 0.5, "duration": 1.5}, {"embedded": b"\0" * 99}],
)
def test_a_changed_row_is_refused(checkpoint: Path, rows: list[Utterance], changes: dict[str, Any]) -> None:
    now = state([replace(rows[0], **changes), *rows[1:4]], rows[4:])
    with pytest.raises(ChangedDataError, match="train: 0 added, 0 removed, 1 changed; validation: 0 added") as refused:
        resumed_data(checkpoint, now, False)
    assert (refused.value.added, refused.value.removed, refused.value.changed) == (0, 0, 1)
    assert "\n" not in str(refused.value)


def test_another_size_is_refused(checkpoint: Path, rows: list[Utterance]) -> None:
    Path(rows[5].audio).write_bytes(b"\0" * 101)
    with pytest.raises(ChangedDataError) as refused:
        resumed_data(checkpoint, state(rows[:4], rows[4:]), False)
    assert (refused.value.added, refused.value.removed, refused.value.changed) == (0, 0, 1)


def test_a_claimed_duration_does_not_count(checkpoint: Path, rows: list[Utterance]) -> None:
    now = state([replace(rows[0], duration=9.0), *rows[1:4]], rows[4:])
    assert resumed_data(checkpoint, now, False) == now


def test_added_and_removed_rows_are_counted(checkpoint: Path, rows: list[Utterance], tmp_path: Path) -> None:
    now = state([*rows[1:3], row(tmp_path, 7), row(tmp_path, 8), row(tmp_path, 9)], rows[4:])
    with pytest.raises(ChangedDataError) as refused:
        resumed_data(checkpoint, now, False)
    assert (refused.value.added, refused.value.removed, refused.value.changed) == (3, 2, 0)


def test_another_order_is_refused_too(checkpoint: Path, rows: list[Utterance]) -> None:
    with pytest.raises(ChangedDataError, match="another order") as refused:
        resumed_data(checkpoint, state(rows[3::-1], rows[4:]), False)
    assert (refused.value.added, refused.value.removed, refused.value.changed) == (0, 0, 0)


def test_a_row_that_moved_to_another_split_is_removed_and_added(checkpoint: Path, rows: list[Utterance]) -> None:
    with pytest.raises(ChangedDataError) as refused:
        resumed_data(checkpoint, state(rows[:3], rows[3:]), False)
    assert (refused.value.added, refused.value.removed) == (1, 1)


def test_accepted_changes_are_recorded_each_time(checkpoint: Path, rows: list[Utterance], tmp_path: Path) -> None:
    before = state(rows[:4], rows[4:])
    now = resumed_data(checkpoint, state(rows[:3], rows[4:]), True)
    (change,) = now.changes
    assert (change.step, change.added, change.removed, change.changed, change.validation) == (10, 0, 1, 0, False)
    assert (change.earlier_corpora, change.earlier_rows_sha256) == (before.corpora, before.sha256)
    later = tmp_path / "checkpoint-20"
    later.mkdir()
    now.write(later)
    assert resumed_data(later, state(rows[:3], rows[4:]), False) == now
    again = resumed_data(later, state(rows[:3], rows[5:]), True)
    assert [(each.step, each.validation) for each in again.changes] == [(10, False), (20, True)]
    # Between the two the rows of the first change, which were trained on.
    assert again.changes[1].earlier_corpora == now.corpora


def test_other_rows_on_which_no_step_was_taken_are_refused(checkpoint: Path, rows: list[Utterance]) -> None:
    now = resumed_data(checkpoint, state(rows[:3], rows[4:]), True)
    with pytest.raises(ChangedDataError):
        refuse_unused_data(checkpoint, now, 10)
    refuse_unused_data(checkpoint, now, 11)
    refuse_unused_data(checkpoint, state(rows[:4], rows[4:]), 10)
    refuse_unused_data(None, state(rows[:4], rows[4:]), 10)


def test_a_checkpoint_of_an_earlier_version_resumes(tmp_path: Path, rows: list[Utterance]) -> None:
    now = state(rows[:4], rows[4:])
    assert resumed_data(tmp_path, now, False) == now


def test_a_run_without_validation(tmp_path: Path, rows: list[Utterance]) -> None:
    now = DataState.of({"train": {"clips": (Utterances.of(rows), [])}}, [])
    now.write(tmp_path)
    assert resumed_data(tmp_path, now, False) == now and now.rows.num_rows == 6
