"""
Parts of an evaluation that machines hear without knowing of one another: `3/64` is the third of 64.

A shard hears every 64th batch of those that one process alone would make, so that the texts are the same, and writes
them with their places in the corpus to `shards/3-of-64/<corpus>/`; `escoita/evaluation/merge.py` puts them together.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from escoita.errors import EscoitaError, RecordError
from escoita.utils.files import write_atomically
from escoita.evaluation.predictions import SCHEMA, Provenance, predictions_path
from escoita.records.training import Part


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


class ShardProvenance(Part):
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
