"""Compare the base and the rows of an interrupted run with the current ones."""

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


class ChangedBaseError(TrainingError):
    """Report that the base of a run is a folder whose weights have changed."""

    problem = "the weights of this base have changed since the run began"
    hint = "give --restart to train from the first step, or train under another name with --set name=…"


def base_of_run(recipe: Recipe, run: RunDirectory, state: "PartialState", restart: bool = False) -> Base:
    """
    Return the base that a run trains on: the commit that it began with, or the one that the recipe names.

    Args:
        recipe ([`Recipe`]): The recipe, which names the base and optionally its revision.
        run ([`RunDirectory`]): The run directory; a run without checkpoints begins.
        state (`PartialState`): The processes that train together; the main one requests the commit for all.
        restart (`bool`, *optional*, defaults to `False`): Ignore checkpoints, because they will be removed.

    Raises:
        ChangedBaseError: The base is a folder whose weights changed since the run began.
        EscoitaError: The base is not found.
    """
    before = read_base(run) if checkpoints_by_step(run.checkpoints) and not restart else None

    def find() -> Base:
        base = resolve_base(recipe.base, recipe_revision=before.commit if before else recipe.base_revision)
        if before and base.revision is None and weights_digest(recipe.base) != before.sha256:
            raise ChangedBaseError(path=run.path, key="base", value=recipe.base)
        return base

    return main_only(find, state)


def pinned(recipe: Recipe, base: Base) -> Recipe:
    """Return the recipe with the commit of its base, so that all files are loaded from the same commit."""
    return recipe.model_copy(update={"base_revision": base.revision}) if base.revision else recipe


def save_base(run: RunDirectory, base: Base) -> BaseRecord:
    """
    Record the base of a run, so that a resumed training loads the same one.

    Args:
        run ([`RunDirectory`]): The run directory, whose folder of checkpoints receives the record.
        base ([`~escoita.models.base_model.Base`]): The base that was loaded.

    Returns:
        [`BaseRecord`]: The name, the commit and the digest of the weights.
    """
    record = base.record()
    write_atomically(_path(run), record.model_dump_json(indent=2) + "\n")
    return record


def read_base(run: RunDirectory) -> BaseRecord | None:
    """
    Return the record that [`save_base`] wrote, or `None`.

    Raises:
        RecordError: The file is damaged.
    """
    path = _path(run)
    if not path.is_file():
        return None
    try:
        return BaseRecord.from_json(read_bounded(path, JSON_BYTES))
    except ValueError as error:
        hint = "give --restart to train from the first step"
        raise RecordError(f"cannot be read ({error})", path=path, hint=hint) from error


def _path(run: RunDirectory) -> Path:
    return run.checkpoints / NAME


# The file of a checkpoint that holds the digests of its rows.
FILE = "rows.parquet"
_CORPORA, _CHANGES = TypeAdapter(list[CorpusUse]), TypeAdapter(list[DataChange])


@dataclass(frozen=True)
class DataState:
    """
    Hold the digests of all usable training and validation rows, in order, and the changes of these rows in the run.

    Args:
        rows (`pa.Table`): A table with the columns `split`; `row`, the digest of corpus and id; and `content`, the
            digest of text, size of the recording in bytes, offset and duration.
        corpora (`list[CorpusUse]`): The numbers of usable and rejected rows of each corpus.
        changes (`list[DataChange]`): Changes of the rows with which the run resumed, ordered by step.
    """

    rows: pa.Table
    corpora: list[CorpusUse]
    changes: list[DataChange] = field(default_factory=list)

    @classmethod
    def of(cls, clips: dict[str, Gathered], corpora: list[CorpusUse]) -> Self:
        """Return the digests of the rows of each split."""
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
        """Return the digest of all rows in their order."""
        found = hashlib.sha256()
        for name in ("split", "row", "content"):
            found.update(json.dumps(self.rows[name].to_pylist()).encode())
        return found.hexdigest()

    def write(self, checkpoint: Path) -> None:
        """Write the file of a checkpoint."""
        metadata = {"corpora": _CORPORA.dump_json(self.corpora), "changes": _CHANGES.dump_json(self.changes)}
        pq.write_table(self.rows.replace_schema_metadata(metadata), checkpoint / FILE)

    @classmethod
    def read(cls, checkpoint: Path) -> Self | None:
        """Read the file of an undamaged checkpoint; return `None` if a version without such files wrote it."""
        path = checkpoint / FILE
        if not path.is_file():
            return None
        rows = pq.read_table(path)
        metadata = rows.schema.metadata
        return cls(
            rows.replace_schema_metadata(None),
            _CORPORA.validate_json(metadata[b"corpora"]),
            _CHANGES.validate_json(metadata[b"changes"]),
        )


@dataclass(frozen=True)
class Difference:
    """Hold the numbers of rows of a split that are new, are missing, or have another content."""

    added: int
    removed: int
    changed: int

    def __str__(self) -> str:
        return f"{self.added:,} added, {self.removed:,} removed, {self.changed:,} changed"


def differences(before: pa.Table, now: pa.Table) -> dict[str, Difference]:
    """Compare the rows of each split; all counts are zero if only the order differs."""
    return {
        split: _difference(*(rows.filter(pc.equal(rows["split"], split)) for rows in (before, now)))
        for split in sorted({*before["split"].unique().to_pylist(), *now["split"].unique().to_pylist()})
    }


def resumed_data(checkpoint: Path | None, now: DataState, accept_changed: bool) -> DataState:
    """
    Compare the current rows with those of the checkpoint from which a run resumes.

    Args:
        checkpoint (`Path`, *optional*): The checkpoint; `None` for a run that begins.
        now ([`DataState`]): The state of the current rows.
        accept_changed (`bool`): Whether to resume with other rows.

    Returns:
        [`DataState`]: The current state, with all changes since the run began.

    Raises:
        ChangedDataError: The rows differ, and `accept_changed` is `False`.
    """
    before = DataState.read(checkpoint) if checkpoint else None
    if checkpoint is None:
        return now
    if before is None:
        say(f"{checkpoint}: written by an earlier version, so the rows cannot be compared")
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
            f"the training rows have changed since this checkpoint ({counts})",
            path=checkpoint,
            hint="restore them, or give --accept-changed-data to resume with the current rows, or --restart to train"
            " from the first step",
            added=total.added,
            removed=total.removed,
            changed=total.changed,
        )
    say(f"Resuming with changed rows ({counts})")
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
    Refuse to finish a run that resumed with changed rows and took no step on them.

    Args:
        checkpoint (`Path`, *optional*): The checkpoint from which the run resumed.
        data ([`DataState`]): The state from [`resumed_data`].
        step (`int`): The total number of steps.

    Raises:
        ChangedDataError: All steps were taken on the earlier rows.
    """
    if checkpoint is None or not data.changes or data.changes[-1].step != step:
        return
    change = data.changes[-1]
    raise ChangedDataError(
        "all steps were taken on the earlier rows",
        path=checkpoint,
        hint="restore the earlier rows to save the adapter, or give --restart to train from the first step",
        added=change.added,
        removed=change.removed,
        changed=change.changed,
    )


def _digests(corpus: str, utterances: Utterances) -> Iterator[tuple[int, int]]:
    """Yield for each row the digest of its identity and that of its content."""

    @cache
    def size(path: str) -> int:
        return Path(path).stat().st_size

    embedded = pc.binary_length(utterances.table["embedded"]).take(pa.array(utterances.order)).to_pylist()
    names = ("id", "audio", "text", "offset", "duration", "audio_seconds")
    columns = (utterances.each(name) for name in names)
    for embedded_bytes, id, audio, text, offset, duration, seconds in zip(embedded, *columns, strict=True):
        segment = None if offset is None else (offset, duration)  # without an offset the duration is not verified
        audio_bytes = size(audio) if embedded_bytes is None else embedded_bytes
        content = json.dumps([text, audio_bytes, segment, round(seconds, 3)])
        yield _digest(json.dumps([corpus, id])), _digest(content)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _same(before: pa.Table, now: pa.Table, split: str) -> bool:
    """Return whether the rows of a split are the same, in the same order."""
    earlier, current = (table.filter(pc.equal(table["split"], split)) for table in (before, now))
    return earlier.equals(current)


def _difference(before: pa.Table, now: pa.Table) -> Difference:
    keys, other_keys = (table["row"].to_numpy() for table in (before, now))
    both, indices, other_indices = np.intersect1d(keys, other_keys, assume_unique=True, return_indices=True)
    same = before["content"].to_numpy()[indices] == now["content"].to_numpy()[other_indices]
    return Difference(len(other_keys) - len(both), len(keys) - len(both), int((~same).sum()))
