"""Compare the base and the rows of an interrupted run with those of today."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from escoita.data.loading import Gathered
from escoita.data.rows import Utterances
from escoita.errors import ChangedDataError, RecordError, TrainingError
from escoita.hub.files import weights_digest
from escoita.models.base_model import Base, resolve_base
from escoita.recipe.schema import Recipe
from escoita.records.training import BaseRecord, CorpusUse, DataChange
from escoita.run_directory import RunDirectory
from escoita.training.checkpointing import checkpoints_by_step
from escoita.utils.files import write_atomically
from escoita.utils.limits import JSON_BYTES, read_bounded
from escoita.utils.processes import main_only, say


if TYPE_CHECKING:
    from accelerate import PartialState


NAME = "base.json"


def base_of_run(recipe: Recipe, run: RunDirectory, state: "PartialState", restart: bool = False) -> Base:
    """
    Find the base that a run trains on: the commit that it began with, or else the one that the recipe names now.

    Args:
        recipe ([`Recipe`]): Names the base, and perhaps its revision.
        run ([`RunDirectory`]): May hold checkpoints of an interrupted training; without one, the run begins.
        state (`PartialState`): The processes that train together; the main one asks the Hub for all.
        restart (`bool`, *optional*, defaults to `False`): The checkpoints are about to be removed.

    Raises:
        TrainingError: The base is a folder whose weights changed since the run began.
        EscoitaError: The base cannot be found.
    """
    before = read_base(run) if checkpoints_by_step(run.checkpoints) and not restart else None

    def find() -> Base:
        base = resolve_base(recipe.base, recipe_revision=before.commit if before else recipe.base_revision)
        if before and base.revision is None and weights_digest(recipe.base) != before.sha256:
            raise TrainingError(
                f"{run.path}: the weights of its base {recipe.base} changed since the run began; --restart trains from"
                " the first step, --set name=… under another name"
            )
        return base

    return main_only(find, state)


def pinned(recipe: Recipe, base: Base) -> Recipe:
    """Return the recipe with the commit of its base, so that everything is loaded from the same one."""
    return recipe.model_copy(update={"base_revision": base.revision}) if base.revision else recipe


def keep_base(run: RunDirectory, base: Base) -> BaseRecord:
    """
    Write down the base of a run, so that a resumed training loads the same one.

    Args:
        run ([`RunDirectory`]): Its folder of checkpoints is written to.
        base ([`~escoita.models.base_model.Base`]): Loaded.

    Returns:
        [`BaseRecord`]: Name, commit and digest of the weights.
    """
    record = base.record()
    write_atomically(_path(run), record.model_dump_json(indent=2) + "\n")
    return record


def read_base(run: RunDirectory) -> BaseRecord | None:
    """
    Return what [`keep_base`] wrote, if anything.

    Raises:
        RecordError: The file is damaged.
    """
    path = _path(run)
    if not path.is_file():
        return None
    try:
        return BaseRecord.from_json(read_bounded(path, JSON_BYTES))
    except ValueError as error:
        raise RecordError(f"{path}: cannot be read ({error}); --restart trains from the first step") from error


def _path(run: RunDirectory) -> Path:
    return run.checkpoints / NAME


# In a checkpoint.
FILE = "rows.parquet"
_CORPORA, _CHANGES = TypeAdapter(list[CorpusUse]), TypeAdapter(list[DataChange])


@dataclass(frozen=True)
class DataState:
    """
    Digests of all usable rows of training and validation, in their order, and the changes since the run began.

    Args:
        rows (`pa.Table`): `split`; `row`, the digest of corpus and id; `content`, the digest of text, size of the
            recording in bytes, offset and duration.
        corpora (`list[CorpusUse]`): What each corpus gave.
        changes (`list[DataChange]`): Made to the rows when the run resumed, in the order of their steps.
    """

    rows: pa.Table
    corpora: list[CorpusUse]
    changes: list[DataChange] = field(default_factory=list)

    @classmethod
    def of(cls, clips: dict[str, Gathered], corpora: list[CorpusUse]) -> Self:
        """Digests of what was gathered for each split."""
        rows: list[tuple[str, int, int]] = []
        for split, gathered in clips.items():
            for name, (utterances, _) in gathered.items():
                rows.extend((split, *digests) for digests in _digests(name, utterances))
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        kinds = {"split": pa.string(), "row": pa.uint64(), "content": pa.uint64()}
        arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds.values(), strict=True)]
        return cls(pa.table(arrays, names=list(kinds)), corpora)

    @property
    def sha256(self) -> str:
        """Digest of all rows in their order."""
        found = hashlib.sha256()
        for name in ("split", "row", "content"):
            found.update(json.dumps(self.rows[name].to_pylist()).encode())
        return found.hexdigest()

    def write(self, checkpoint: Path) -> None:
        """Writes the file of a checkpoint."""
        known = {"corpora": _CORPORA.dump_json(self.corpora), "changes": _CHANGES.dump_json(self.changes)}
        pq.write_table(self.rows.replace_schema_metadata(known), checkpoint / FILE)

    @classmethod
    def read(cls, checkpoint: Path) -> Self | None:
        """Reads the file of a checkpoint that is not damaged; `None` if a version without such files wrote it."""
        path = checkpoint / FILE
        if not path.is_file():
            return None
        rows = pq.read_table(path)
        known = rows.schema.metadata
        return cls(
            rows.replace_schema_metadata(None),
            _CORPORA.validate_json(known[b"corpora"]),
            _CHANGES.validate_json(known[b"changes"]),
        )


@dataclass(frozen=True)
class Difference:
    """How many rows of a split are new, are missing, or have another content."""

    added: int
    removed: int
    changed: int

    def __str__(self) -> str:
        return f"{self.added:,} added, {self.removed:,} removed, {self.changed:,} changed"


def differences(before: pa.Table, now: pa.Table) -> dict[str, Difference]:
    """Compares the rows of each split; all counts are zero if only their order differs."""
    return {
        split: _difference(*(rows.filter(pc.equal(rows["split"], split)) for rows in (before, now)))
        for split in sorted({*before["split"].unique().to_pylist(), *now["split"].unique().to_pylist()})
    }


def resumed_data(checkpoint: Path | None, now: DataState, accept_changed: bool) -> DataState:
    """
    Compares the rows of today with those of the checkpoint from which a run resumes.

    Args:
        checkpoint (`Path`, *optional*): `None` for a run that begins.
        now ([`DataState`]): Of the corpora as they are.
        accept_changed (`bool`): Resume with other rows.

    Returns:
        [`DataState`]: That of today, with all changes since the run began.

    Raises:
        ChangedDataError: The rows differ, and that is not accepted.
    """
    before = DataState.read(checkpoint) if checkpoint else None
    if checkpoint is None:
        return now
    if before is None:
        say(f"{checkpoint}: an earlier version wrote it, so it is not known whether the rows are the same")
        return now
    if before.rows.equals(now.rows):
        return replace(now, changes=before.changes)
    found = differences(before.rows, now.rows)
    total = Difference(*(sum(getattr(each, name) for each in found.values()) for name in Difference.__annotations__))
    counts = "; ".join(f"{split}: {each}" for split, each in found.items())
    if total == Difference(0, 0, 0):
        counts = "the same rows in another order"
    if not accept_changed:
        raise ChangedDataError(
            f"{checkpoint}: the rows are not those that the run was trained on ({counts}); restore them, or give"
            " --accept-changed-data to resume with the rows of today, or --restart to train from the first step",
            added=total.added,
            removed=total.removed,
            changed=total.changed,
        )
    say(f"Resuming with other rows ({counts})")
    change = DataChange(
        step=int(checkpoint.name.rpartition("-")[2]),
        added=total.added,
        removed=total.removed,
        changed=total.changed,
        validation=not _same(before.rows, now.rows, "validation"),
        earlier_corpora=before.corpora,
        earlier_rows_sha256=before.sha256,
    )
    return replace(now, changes=[*before.changes, change])


def refuse_unused_data(checkpoint: Path | None, data: DataState, step: int) -> None:
    """
    Refuses to finish a run that resumed with other rows and took no step on them.

    Args:
        checkpoint (`Path`, *optional*): From which it resumed.
        data ([`DataState`]): Of [`resumed_data`].
        step (`int`): Steps taken in all.

    Raises:
        ChangedDataError: All steps had been taken on the earlier rows.
    """
    if checkpoint is None or not data.changes or data.changes[-1].step != step:
        return
    change = data.changes[-1]
    raise ChangedDataError(
        f"{checkpoint}: all steps were taken on the earlier rows, and none on those of today; restore the earlier rows"
        " to save the adapter, or give --restart to train from the first step",
        added=change.added,
        removed=change.removed,
        changed=change.changed,
    )


def _digests(corpus: str, utterances: Utterances) -> Iterator[tuple[int, int]]:
    """Of each row the digest by which it is known, and that of its content."""

    @cache
    def size(path: str) -> int:
        return Path(path).stat().st_size

    embedded = pc.binary_length(utterances.table["embedded"]).take(pa.array(utterances.order)).to_pylist()
    names = ("id", "audio", "text", "offset", "duration", "audio_seconds")
    columns = (utterances.each(name) for name in names)
    for held, id, audio, text, offset, duration, seconds in zip(embedded, *columns, strict=True):
        part = None if offset is None else (offset, duration)  # without an offset the duration is only a claim
        content = json.dumps([text, size(audio) if held is None else held, part, round(seconds, 3)])
        yield _digest(json.dumps([corpus, id])), _digest(content)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _same(before: pa.Table, now: pa.Table, split: str) -> bool:
    """Whether the rows of a split are the same, in the same order."""
    one, other = (table.filter(pc.equal(table["split"], split)) for table in (before, now))
    return one.equals(other)


def _difference(before: pa.Table, now: pa.Table) -> Difference:
    keys, other_keys = (table["row"].to_numpy() for table in (before, now))
    both, places, other_places = np.intersect1d(keys, other_keys, assume_unique=True, return_indices=True)
    same = before["content"].to_numpy()[places] == now["content"].to_numpy()[other_places]
    return Difference(len(other_keys) - len(both), len(keys) - len(both), int((~same).sum()))
