"""Divide an evaluation among machines, and merge their predictions."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from escoita.errors import EscoitaError, RecordError
from escoita.evaluation.predictions import SCHEMA, Provenance, described, predictions_path
from escoita.records.training import RecordModel
from escoita.utils.files import replacing, write_atomically


if TYPE_CHECKING:
    from accelerate import PartialState

    from escoita.evaluation.request import Candidate, EvaluationData


FOLDER = "shards"
# The place of a row in its corpus, from 0.
ROW = "row"
SHARD_SCHEMA = SCHEMA.append(pa.field(ROW, pa.int64()))
# Rows that a reader holds of one shard, and that stand together in its file.
ROWS_AT_ONCE = 2048
_MADE, _SHARD = b"escoita", b"escoita-shard"


@dataclass(frozen=True)
class Shard:
    """
    A part of an evaluation.

    Args:
        index (`int`): Which, from 1.
        of (`int`): How many there are.
    """

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """
        Reads `3/64`.

        Raises:
            EscoitaError: It is written otherwise, or there is no such part.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise EscoitaError(f"--shard {text}: write 3/64 for the third of 64, counted from 1")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def folder(self, out: Path) -> Path:
        """Where what it heard stands, below the folder of an evaluation."""
        return out / FOLDER / f"{self.index}-of-{self.of}"

    def numbers(self, batches: int) -> range:
        """Those of so many batches that it hears; as batches go from long clips to short ones, all parts are alike."""
        return range(self.index - 1, batches, self.of)


WHOLE = Shard(1, 1)


class ShardProvenance(RecordModel):
    """
    What a file of a shard says beside [`~escoita.evaluation.predictions.Provenance`].

    Args:
        index (`int`): Which shard, from 1.
        of (`int`): How many there are.
        key (`str`): Digest of what the texts depend on, the same for all shards: model, prompt, batches, clips,
            libraries.
        rows (`int`): Clips of the whole corpus.
    """

    index: int
    of: int
    key: str
    rows: int


@dataclass(frozen=True)
class ShardFile:
    """
    A file of a shard, of which the rows are still in it.

    Args:
        path (`Path`): The file.
        provenance ([`~escoita.evaluation.predictions.Provenance`]): Corpus and system.
        part ([`ShardProvenance`]): Which part of it.
    """

    path: Path
    provenance: Provenance
    part: ShardProvenance


def write_shard(
    out: Path, predictions: pa.Table, places: Sequence[int], provenance: Provenance, part: ShardProvenance
) -> Path:
    """
    Writes what a shard heard in one corpus.

    Args:
        out (`Path`): The folder of the evaluation.
        predictions (`pa.Table`): Rows of the schema of predictions.
        places (`Sequence[int]`): Of these rows in the corpus, ascending.
        provenance ([`~escoita.evaluation.predictions.Provenance`]): Corpus and system.
        part ([`ShardProvenance`]): Which part of it.
    """
    folder = Shard(part.index, part.of).folder(out)
    path = predictions_path(folder, provenance.corpus, provenance.system.name)
    table = predictions.append_column(SHARD_SCHEMA.field(ROW), pa.array(places, pa.int64()))
    sink = pa.BufferOutputStream()
    said = {_MADE: provenance.model_dump_json().encode(), _SHARD: part.model_dump_json().encode()}
    pq.write_table(table.replace_schema_metadata(said), sink, row_group_size=ROWS_AT_ONCE)
    write_atomically(path, sink.getvalue().to_pybytes())
    return path


def read_shard(path: Path) -> ShardFile:
    """
    Reads what a file of a shard says of itself, not its rows.

    Raises:
        RecordError: It is not one of ours, or stands where it does not belong.
    """
    try:
        schema = pq.read_schema(path)
        made = Provenance.model_validate_json(schema.metadata[_MADE])
        part = ShardProvenance.model_validate_json(schema.metadata[_SHARD])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValidationError) as error:
        raise RecordError(f"{path}: not a file of a shard; escoita eval --shard writes them") from error
    if made.schema_version != 1 or not schema.equals(SHARD_SCHEMA):
        raise RecordError(f"{path}: a shard of another schema; hear it again")
    shard = Shard(part.index, part.of)
    if path != predictions_path(shard.folder(path.parents[3]), made.corpus, made.system.name):
        raise RecordError(
            f"{path}: holds what {made.system.name} heard in shard {shard} of {made.corpus}, so it cannot stand there"
        )
    return ShardFile(path, made, part)


# Rows that are put in order, and written, together.
WINDOW = 32_768


def merge_all(
    candidates: Sequence["Candidate"],
    tests: dict[str, "EvaluationData"],
    out: Path,
    batch_seconds: float,
    state: "PartialState",
) -> None:
    """
    Stands in the place of [`~escoita.evaluation.predict.transcribe_all`] where shards heard everything already.

    Raises:
        RecordError: As [`merge_shards`], or the corpus has another number of clips now.
    """
    if not state.is_main_process:
        return
    for candidate in candidates:
        for corpus, test in tests.items():
            path = merge_shards(out, corpus, candidate.name)
            if (rows := pq.read_metadata(path).num_rows) != len(test.clips):
                raise RecordError(f"{path}: {rows} clips were heard, and the corpus has {len(test.clips)} now")


def merge_shards(out: Path, corpus: str, system: str) -> Path:
    """
    Puts together what the shards heard of one corpus.

    Args:
        out (`Path`): The folder of the evaluation.
        corpus (`str`): Its name.
        system (`str`): What heard it.

    Returns:
        `Path`: The file of predictions that was written.

    Raises:
        RecordError: A shard is missing, is there twice, was made under other conditions than the others, or holds a
            clip that another holds too or none holds.
    """
    name = predictions_path(Path(), corpus, system)
    files = _all_there(out, name, [read_shard(path) for path in sorted((out / FOLDER).glob(f"*/{name}"))])
    made = _together([file.provenance for file in files])
    path = predictions_path(out, corpus, system)
    schema = described(SCHEMA.empty_table(), made).schema
    with replacing(path) as whole, pq.ParquetWriter(whole, schema) as writer:
        for window in _windows(files):
            writer.write_table(window.replace_schema_metadata(schema.metadata))
    return path


def _all_there(out: Path, name: Path, found: list[ShardFile]) -> list[ShardFile]:
    """The files in the order of their shards, if that is all of them, of the same clips and model."""
    if not found:
        raise RecordError(f"{out / FOLDER}: no shard holds {name}; escoita eval --shard 1/N writes the first of N")
    first = found[0]
    for file in found[1:]:
        if file.part.of != first.part.of:
            raise RecordError(
                f"{out / FOLDER}: parts of {first.part.of} and of {file.part.of}, {first.path} and {file.path}; remove"
                " those of an earlier division"
            )
        if (file.part.key, file.part.rows) != (first.part.key, first.part.rows):
            raise RecordError(
                f"{first.path} and {file.path}: heard with other clips, another model or prompt, or other versions of"
                " torch, transformers or peft; hear one of them again"
            )
    shards = {file.part.index: file for file in found}
    if missing := [index for index in range(1, first.part.of + 1) if index not in shards]:
        named = ", ".join(f"{index}/{first.part.of}" for index in missing[:10])
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise RecordError(f"{out / FOLDER}: {name} is missing of shard {named}{more}; escoita eval --shard hears it")
    return [shards[index] for index in sorted(shards)]


def _together(parts: Sequence[Provenance]) -> Provenance:
    """Of all shards: the processes of all of them, and the most memory that one took."""
    systems = [part.system for part in parts]
    for system in systems[1:]:
        for key in ("base_sha256", "adapter_sha256", "dtype", "batch_seconds", "max_new_tokens"):
            if getattr(system, key) != getattr(systems[0], key):
                raise RecordError(f"shards of {system.name} are of different models, by their {key}; hear them again")
    devices = sorted({system.device for system in systems})
    whole = {
        "processes": sum(system.processes for system in systems),
        "peak_memory_bytes": max(system.peak_memory_bytes for system in systems),
        "device": ", ".join(devices),
    }
    return parts[0].model_copy(update={"system": systems[0].model_copy(update=whole)})


def _windows(files: Sequence[ShardFile]) -> Iterator[pa.Table]:
    """All rows in the order of the corpus, some at once."""
    rows = files[0].part.rows
    readers = [_Reader(file.path) for file in files]
    for start in range(0, rows, WINDOW):
        end = min(start + WINDOW, rows)
        taken = [reader.until(end) for reader in readers]
        places = np.concatenate([table[ROW].to_numpy() for table in taken])
        order = np.argsort(places, kind="stable")
        if not np.array_equal(places[order], np.arange(start, end)):
            _refuse(files, taken, start, end)
        yield pa.concat_tables(taken).select(SCHEMA.names).take(order)
    for file, reader in zip(files, readers, strict=True):
        if reader.until(np.iinfo(np.int64).max).num_rows:
            raise RecordError(f"{file.path}: holds clips behind the last of the corpus, which has {rows}")


def _refuse(files: Sequence[ShardFile], taken: Sequence[pa.Table], start: int, end: int) -> None:
    """Says which clip is there twice, or not at all."""
    holders: dict[int, list[Path]] = {}
    for file, table in zip(files, taken, strict=True):
        for place in table[ROW].to_pylist():
            holders.setdefault(place, []).append(file.path)
    for place in sorted({*holders, *range(start, end)}):
        paths = holders.get(place, [])
        if len(paths) > 1:
            raise RecordError(f"clip {place + 1} is in {' and in '.join(map(str, paths))}; hear one of them again")
        if not paths:
            raise RecordError(f"clip {place + 1} of {files[0].part.rows} is in no shard of {files[0].path.name}")
        if not start <= place < end:
            raise RecordError(f"{paths[0]}: its clips are not in the order of the corpus; hear it again")


class _Reader:
    """The rows of one shard, from the first to the last, a few in memory."""

    def __init__(self, path: Path):
        # Nothing is read ahead: else a whole row group of each of many shards would be in memory.
        self.batches = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16).iter_batches(ROWS_AT_ONCE)
        self.held: list[pa.RecordBatch] = []

    def until(self, end: int) -> pa.Table:
        """The next rows up to a place in the corpus."""
        taken = []
        while self.held or self._read():
            batch = self.held.pop()
            places = batch.column(ROW).to_numpy()
            cut = int(np.searchsorted(places, end))
            taken.append(batch.slice(0, cut))
            if cut < len(places):
                self.held.append(batch.slice(cut))
                break
        return pa.Table.from_batches(taken, SHARD_SCHEMA) if taken else SHARD_SCHEMA.empty_table()

    def _read(self) -> bool:
        """Whether there was more."""
        for batch in self.batches:
            if batch.num_rows:
                self.held.append(batch.replace_schema_metadata())
                return True
        return False
