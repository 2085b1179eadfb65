from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from accelerate import PartialState

from escoita.data.loading import Gathered
from escoita.data.rows import Utterance, Utterances
from escoita.errors import ChangedDataError
from escoita.models.base_model import Base
from escoita.recipe.schema import Recipe
from escoita.records.training import CorpusUse
from escoita.run_directory import RunDirectory
from escoita.training import resume as module
from escoita.training.resume import (
    ChangedBaseError,
    DataState,
    base_of_run,
    pinned,
    read_base,
    refuse_unused_data,
    resumed_data,
    save_base,
)


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
    """Write a checkpoint of step 10, with four training rows and two validation rows."""
    folder = tmp_path / "checkpoint-10"
    folder.mkdir()
    state(rows[:4], rows[4:]).write(folder)
    return folder


def test_unchanged_rows_are_accepted(checkpoint: Path, rows: list[Utterance]) -> None:
    now = state(rows[:4], rows[4:])
    assert DataState.read(checkpoint) == now
    for accept in (False, True):
        assert resumed_data(checkpoint, now, accept) == now
    assert resumed_data(None, now, False) == now


def test_moved_recordings_are_accepted(checkpoint: Path, rows: list[Utterance], tmp_path: Path) -> None:
    moved = [replace(row(tmp_path, 90 + index), id=each.id, text=each.text) for index, each in enumerate(rows)]
    assert resumed_data(checkpoint, state(moved[:4], moved[4:]), False).changes == []


@pytest.mark.parametrize(
    "changes",
    [{"text": "another"}, {"audio_seconds": 1.6}, {"offset": 0.5, "duration": 1.5}, {"embedded": b"\0" * 99}],
)
def test_a_changed_row_is_refused(checkpoint: Path, rows: list[Utterance], changes: dict[str, Any]) -> None:
    now = state([replace(rows[0], **changes), *rows[1:4]], rows[4:])
    with pytest.raises(ChangedDataError) as refused:
        resumed_data(checkpoint, now, False)
    assert refused.value.path == checkpoint and "\n" not in str(refused.value)
    assert (refused.value.added, refused.value.removed, refused.value.changed) == (0, 0, 1)


def test_a_recording_of_another_size_is_refused(checkpoint: Path, rows: list[Utterance]) -> None:
    Path(rows[5].audio).write_bytes(b"\0" * 101)
    with pytest.raises(ChangedDataError) as refused:
        resumed_data(checkpoint, state(rows[:4], rows[4:]), False)
    assert (refused.value.added, refused.value.removed, refused.value.changed) == (0, 0, 1)


def test_a_stated_duration_may_change(checkpoint: Path, rows: list[Utterance]) -> None:
    now = state([replace(rows[0], duration=9.0), *rows[1:4]], rows[4:])
    assert resumed_data(checkpoint, now, False) == now


def test_added_and_removed_rows_are_counted(checkpoint: Path, rows: list[Utterance], tmp_path: Path) -> None:
    now = state([*rows[1:3], row(tmp_path, 7), row(tmp_path, 8), row(tmp_path, 9)], rows[4:])
    with pytest.raises(ChangedDataError) as refused:
        resumed_data(checkpoint, now, False)
    assert (refused.value.added, refused.value.removed, refused.value.changed) == (3, 2, 0)


def test_another_order_is_refused(checkpoint: Path, rows: list[Utterance]) -> None:
    with pytest.raises(ChangedDataError) as refused:
        resumed_data(checkpoint, state(rows[3::-1], rows[4:]), False)
    assert (refused.value.added, refused.value.removed, refused.value.changed) == (0, 0, 0)


def test_a_row_in_another_split_counts_as_removed_and_added(checkpoint: Path, rows: list[Utterance]) -> None:
    with pytest.raises(ChangedDataError) as refused:
        resumed_data(checkpoint, state(rows[:3], rows[3:]), False)
    assert (refused.value.added, refused.value.removed) == (1, 1)


def test_accepted_changes_are_recorded(checkpoint: Path, rows: list[Utterance], tmp_path: Path) -> None:
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
    # The rows of the first change were trained on before the second change.
    assert again.changes[1].earlier_corpora == now.corpora


def test_changed_rows_without_a_step_are_refused(checkpoint: Path, rows: list[Utterance]) -> None:
    now = resumed_data(checkpoint, state(rows[:3], rows[4:]), True)
    with pytest.raises(ChangedDataError):
        refuse_unused_data(checkpoint, now, 10)
    refuse_unused_data(checkpoint, now, 11)
    refuse_unused_data(checkpoint, state(rows[:4], rows[4:]), 10)
    refuse_unused_data(None, state(rows[:4], rows[4:]), 10)


def test_a_checkpoint_of_an_earlier_version_resumes(tmp_path: Path, rows: list[Utterance]) -> None:
    now = state(rows[:4], rows[4:])
    assert resumed_data(tmp_path, now, False) == now


def test_a_run_without_validation_rows(tmp_path: Path, rows: list[Utterance]) -> None:
    now = DataState.of({"train": {"clips": (Utterances.of(rows), [])}}, [])
    now.write(tmp_path)
    assert resumed_data(tmp_path, now, False) == now and now.rows.num_rows == 6


FIRST, NOW, OTHER = "a" * 40, "b" * 40, "c" * 40


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """Simulate a Hub with a newer commit than when the run began, and record the requests."""
    found: list[tuple[str, str | None]] = []

    def resolve(base: str, recipe_revision: str | None = None) -> Base:
        found.append((base, recipe_revision))
        return Base(base, None if Path(base).is_dir() else recipe_revision or NOW, "1" * 64)

    monkeypatch.setattr(module, "resolve_base", resolve)
    return found


def begun(recipe: Recipe, base: Base, checkpoint: bool) -> RunDirectory:
    run = RunDirectory(recipe.run_path)
    run.checkpoints.mkdir(parents=True)
    save_base(run, base)
    if checkpoint:
        (run.checkpoints / "checkpoint-5").mkdir()
    return run


def test_a_run_resumes_on_the_commit_that_it_began_with(
    short_recipe: Callable[..., Recipe], requests: list[tuple[str, str | None]]
) -> None:
    recipe = short_recipe("base=acme/base")
    run = begun(recipe, Base("acme/base", FIRST, "1" * 64), checkpoint=True)
    assert pinned(recipe, base_of_run(recipe, run, PartialState())).base_revision == FIRST
    assert pinned(recipe, base_of_run(recipe, run, PartialState(), restart=True)).base_revision == NOW


@pytest.mark.parametrize("now", ["base=acme/another", "base_revision=" + OTHER])
def test_a_run_without_a_checkpoint_begins_on_the_base_of_the_recipe(
    short_recipe: Callable[..., Recipe], requests: list[tuple[str, str | None]], now: str
) -> None:
    recipe = short_recipe("base=acme/base", now)
    run = begun(recipe, Base("acme/base", FIRST, "1" * 64), checkpoint=False)
    found = base_of_run(recipe, run, PartialState())
    assert requests == [(recipe.base, recipe.base_revision)]
    assert (found.name, found.revision) == (recipe.base, recipe.base_revision or NOW)


@pytest.mark.parametrize("checkpoint", [True, False])
def test_changed_weights_are_refused_if_the_run_has_a_checkpoint(
    short_recipe: Callable[..., Recipe], requests: list[tuple[str, str | None]], checkpoint: bool
) -> None:
    recipe = short_recipe()
    run = begun(recipe, Base(recipe.base, None, "1" * 64), checkpoint)
    if checkpoint:
        with pytest.raises(ChangedBaseError) as error:
            base_of_run(recipe, run, PartialState())
        assert (error.value.path, error.value.value) == (run.path, recipe.base)
    else:
        assert base_of_run(recipe, run, PartialState()).name == recipe.base
    assert (record := read_base(run)) and record.sha256 == "1" * 64
