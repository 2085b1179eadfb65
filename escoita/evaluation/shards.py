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
from escoita.evaluation.errors import (
    DuplicateClipError,
    MisplacedPredictionsError,
    MissingShardError,
    OtherClipsError,
    OtherModelError,
    OtherShardError,
)
from escoita.evaluation.predictions import SCHEMA, Provenance, described, predictions_path
from escoita.evaluation.request import EvaluationData, SystemSpec, transcribes
from escoita.records.training import RecordModel
from escoita.utils.files import replacing, write_atomically


if TYPE_CHECKING:
    from accelerate import PartialState


FOLDER = "shards"
# Position of a row in its corpus, from 0.
ROW = "row"
SHARD_SCHEMA = SCHEMA.append(pa.field(ROW, pa.int64()))
# Rows of a shard that are in memory, and in one row group of its file.
ROWS_AT_ONCE = 2048
_MADE, _SHARD = b"escoita", b"escoita-shard"


@dataclass(frozen=True)
class Shard:
    """
    Identify one of several parts of an evaluation.

    Args:
        index (`int`): Number of the shard, from 1.
        of (`int`): Number of shards.
    """

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """
        Parse a text such as `3/64`.

        Raises:
            EscoitaError: The text has another form, or the number is out of range.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise EscoitaError(
                "not a shard", key="--shard", value=text, hint="use 3/64 for the third of 64, counted from 1"
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def folder(self, out: Path) -> Path:
        """Return the folder of the predictions of the shard, below the folder of an evaluation."""
        return out / FOLDER / f"{self.index}-of-{self.of}"

    def numbers(self, batches: int) -> range:
        """Return the numbers of the batches of the shard. Batches are sorted by length, so shards are balanced."""
        return range(self.index - 1, batches, self.of)


WHOLE = Shard(1, 1)


class ShardProvenance(RecordModel):
    """
    Store the source of a file of a shard, in addition to [`~escoita.evaluation.predictions.Provenance`].

    Args:
        index (`int`): Number of the shard, from 1.
        of (`int`): Number of shards.
        key (`str`): Digest of all that the hypotheses depend on, the same for all shards: model, prompt, batches,
            clips, libraries.
        rows (`int`): Number of clips of the corpus.
    """

    index: int
    of: int
    key: str
    rows: int


@dataclass(frozen=True)
class ShardFile:
    """
    Store the metadata of a file of a shard, whose rows are not read yet.

    Args:
        path (`Path`): The file.
        provenance ([`~escoita.evaluation.predictions.Provenance`]): Corpus and system.
        part ([`ShardProvenance`]): The shard.
    """

    path: Path
    provenance: Provenance
    part: ShardProvenance


def write_shard(
    out: Path, predictions: pa.Table, places: Sequence[int], provenance: Provenance, part: ShardProvenance
) -> Path:
    """
    Write the predictions of a shard on one corpus.

    Args:
        out (`Path`): Folder of the evaluation.
        predictions (`pa.Table`): Rows of the schema of predictions.
        places (`Sequence[int]`): Positions of these rows in the corpus, ascending.
        provenance ([`~escoita.evaluation.predictions.Provenance`]): Corpus and system.
        part ([`ShardProvenance`]): The shard.
    """
    folder = Shard(part.index, part.of).folder(out)
    path = predictions_path(folder, provenance.corpus, provenance.system.name)
    table = predictions.append_column(SHARD_SCHEMA.field(ROW), pa.array(places, pa.int64()))
    sink = pa.BufferOutputStream()
    metadata = {_MADE: provenance.model_dump_json().encode(), _SHARD: part.model_dump_json().encode()}
    pq.write_table(table.replace_schema_metadata(metadata), sink, row_group_size=ROWS_AT_ONCE)
    write_atomically(path, sink.getvalue().to_pybytes())
    return path


def read_shard(path: Path) -> ShardFile:
    """
    Read the metadata of a file of a shard, without its rows.

    Raises:
        MisplacedPredictionsError: The path of the file does not match its content.
        RecordError: The file is not a file of a shard.
    """
    try:
        schema = pq.read_schema(path)
        made = Provenance.model_validate_json(schema.metadata[_MADE])
        part = ShardProvenance.model_validate_json(schema.metadata[_SHARD])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValidationError) as error:
        raise RecordError(
            "not a file of a shard", path=path, hint="remove it; `escoita eval --shard` writes such files"
        ) from error
    if made.schema_version != 1 or not schema.equals(SHARD_SCHEMA):
        raise RecordError("the schema is not that of a shard", path=path, hint="transcribe the shard again")
    shard = Shard(part.index, part.of)
    if path != predictions_path(shard.folder(path.parents[3]), made.corpus, made.system.name):
        raise MisplacedPredictionsError(path=path, system=made.system.name, corpus=f"shard {shard} of {made.corpus}")
    return ShardFile(path, made, part)


# Rows that are sorted and written at once.
WINDOW = 32_768


def merge_all(
    systems: Sequence[SystemSpec],
    tests: dict[str, EvaluationData],
    out: Path,
    batch_seconds: float,
    state: "PartialState",
) -> None:
    """
    Merge the shards of all systems and corpora; the arguments are those of
    [`~escoita.evaluation.predict.transcribe_all`].

    Raises:
        RecordError: As in [`merge_shards`].
        OtherClipsError: A corpus has another number of clips than its shards.
    """
    if not state.is_main_process:
        return
    for system in systems:
        for corpus, test in tests.items():
            if not transcribes(system, test):
                continue
            path = merge_shards(out, corpus, system.name)
            if (rows := pq.read_metadata(path).num_rows) != len(test.clips):
                raise OtherClipsError(
                    f"{rows} clips were transcribed, but the corpus now has {len(test.clips)}", path=path, other=corpus
                )


def merge_shards(out: Path, corpus: str, system: str) -> Path:
    """
    Merge the predictions of all shards of one corpus and system.

    Args:
        out (`Path`): Folder of the evaluation.
        corpus (`str`): Name of the corpus.
        system (`str`): Name of the system.

    Returns:
        `Path`: The file of predictions that was written.

    Raises:
        MissingShardError: A shard does not exist.
        OtherShardError: Two shards are not of the same evaluation.
        OtherModelError: Two shards are of different models.
        DuplicateClipError: Two shards contain the same clip.
        RecordError: A shard cannot be read, or a clip is in no shard.
    """
    name = predictions_path(Path(), corpus, system)
    files = _complete(out, name, [read_shard(path) for path in sorted((out / FOLDER).glob(f"*/{name}"))])
    made = _merged_provenance(files)
    path = predictions_path(out, corpus, system)
    schema = described(SCHEMA.empty_table(), made).schema
    with replacing(path) as file, pq.ParquetWriter(file, schema) as writer:
        for window in _windows(files):
            writer.write_table(window.replace_schema_metadata(schema.metadata))
    return path


def _complete(out: Path, name: Path, found: list[ShardFile]) -> list[ShardFile]:
    """Return the files in the order of their shards, if all exist and are of the same evaluation."""
    if not found:
        raise MissingShardError(f"no shard contains {name}", path=out / FOLDER, missing=[])
    first = found[0]
    for file in found[1:]:
        if file.part.of != first.part.of:
            raise OtherShardError(
                f"one of {file.part.of} shards, but {first.path} is one of {first.part.of}",
                path=file.path,
                other=first.path,
            )
        if (file.part.key, file.part.rows) != (first.part.key, first.part.rows):
            raise OtherShardError(
                f"clips, model, prompt, or version of torch, transformers or peft differ from those of {first.path}",
                path=file.path,
                other=first.path,
            )
    shards = {file.part.index: file for file in found}
    if missing := [index for index in range(1, first.part.of + 1) if index not in shards]:
        numbers = ", ".join(f"{index}/{first.part.of}" for index in missing[:10])
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise MissingShardError(f"no {name} in shard {numbers}{more}", path=out / FOLDER, missing=missing)
    return [shards[index] for index in sorted(shards)]


def _merged_provenance(files: Sequence[ShardFile]) -> Provenance:
    """Return the provenance of all shards, with all processes, the highest peak memory and the last day."""
    systems = [file.provenance.system for file in files]
    for file in files[1:]:
        for key in ("base_sha256", "adapter_sha256", "dtype", "batch_seconds", "max_new_tokens", "decoding"):
            if getattr(file.provenance.system, key) != getattr(systems[0], key):
                raise OtherModelError(path=file.path, key=key, other=files[0].path)
    devices = sorted({system.device for system in systems})
    merged = {
        "processes": sum(system.processes for system in systems),
        "peak_memory_bytes": max(system.peak_memory_bytes for system in systems),
        "device": ", ".join(devices),
        "evaluated": max((system.evaluated for system in systems if system.evaluated), default=None),
    }
    return files[0].provenance.model_copy(update={"system": systems[0].model_copy(update=merged)})


def _windows(files: Sequence[ShardFile]) -> Iterator[pa.Table]:
    """Yield all rows in the order of the corpus, up to `WINDOW` at once."""
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
            raise RecordError(f"contains clips after the last of the corpus, which has {rows}", path=file.path)


def _refuse(files: Sequence[ShardFile], taken: Sequence[pa.Table], start: int, end: int) -> None:
    """Raise the error of a clip that several shards or none contain, or of a shard that is not sorted."""
    holders: dict[int, list[Path]] = {}
    for file, table in zip(files, taken, strict=True):
        for place in table[ROW].to_pylist():
            holders.setdefault(place, []).append(file.path)
    for place in sorted({*holders, *range(start, end)}):
        paths = holders.get(place, [])
        if len(paths) > 1:
            raise DuplicateClipError(path=paths[0], row=place + 1, other=paths[1])
        if not paths:
            raise RecordError(
                f"the clip, one of {files[0].part.rows}, is in no shard", path=files[0].path.name, row=place + 1
            )
        if not start <= place < end:
            raise RecordError(
                "the clips are not in the order of the corpus", path=paths[0], hint="transcribe the shard again"
            )


class _Reader:
    """Read the rows of one shard in order, with a few in memory."""

    def __init__(self, path: Path):
        # Without read-ahead, which would hold a whole row group of each of many shards in memory.
        self.batches = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16).iter_batches(ROWS_AT_ONCE)
        self.remaining: list[pa.RecordBatch] = []

    def until(self, end: int) -> pa.Table:
        """Return the next rows up to a position in the corpus."""
        taken = []
        while self.remaining or self._read():
            batch = self.remaining.pop()
            places = batch.column(ROW).to_numpy()
            cut = int(np.searchsorted(places, end))
            taken.append(batch.slice(0, cut))
            if cut < len(places):
                self.remaining.append(batch.slice(cut))
                break
        return pa.Table.from_batches(taken, SHARD_SCHEMA) if taken else SHARD_SCHEMA.empty_table()

    def _read(self) -> bool:
        """Read the next batch, and return whether there was one."""
        for batch in self.batches:
            if batch.num_rows:
                self.remaining.append(batch.replace_schema_metadata())
                return True
        return False
