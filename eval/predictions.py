"""`predictions.parquet`: what was said, what one system heard, how long it took. Rates are made from it alone."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from escoita.corpora.rows import Utterances
from escoita.errors import RecordError
from escoita.evaluation import SUBJECT, System
from escoita.files import write_atomically
from escoita.recipe import Name
from escoita.records import Part
from escoita.transcript import Transcript


SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("language", pa.string()),
        ("speaker", pa.string()),
        ("gender", pa.string()),
        ("accent", pa.string()),
        ("reference", pa.string()),
        ("hypothesis", pa.string()),
        ("audio_seconds", pa.float64()),
        ("compute_seconds", pa.float64()),
        ("tokens", pa.int64()),
        ("truncated", pa.bool_()),
    ]
)
_KEY = b"escoita"


class Provenance(Part):
    """
    What the rows of a file do not say.

    Args:
        corpus (`str`): Name of the corpus.
        rejected (`int`): Rows of the corpus that could not be used.
        system ([`System`]): What heard the clips.
    """

    schema_version: int = 1
    corpus: Name
    rejected: int
    system: System


def predictions_path(folder: Path, corpus: str, system: str) -> Path:
    """Where the predictions of a system stand: those of the adapter in `predictions.parquet`, others by their name."""
    return folder / corpus / ("predictions.parquet" if system == SUBJECT else f"predictions-{system}.parquet")


def predictions_table(clips: Utterances, heard: Sequence[Transcript], provenance: Provenance) -> pa.Table:
    """Puts what was said beside what was heard, in the order of the corpus."""
    columns = {
        "id": clips.column("id"),
        "language": clips.column("language"),
        "speaker": clips.column("speaker"),
        "gender": clips.column("gender"),
        "accent": clips.column("accent"),
        "reference": clips.column("text"),
        "hypothesis": [transcript.text for transcript in heard],
        "audio_seconds": [transcript.audio_seconds for transcript in heard],
        "compute_seconds": [transcript.compute_seconds for transcript in heard],
        "tokens": [transcript.tokens for transcript in heard],
        "truncated": [transcript.truncated for transcript in heard],
    }
    return described(pa.table(columns, schema=SCHEMA), provenance)


def described(table: pa.Table, provenance: Provenance) -> pa.Table:
    """The same rows with what is to be known of them."""
    return table.replace_schema_metadata({_KEY: provenance.model_dump_json().encode()})


def write_predictions(table: pa.Table, path: Path) -> None:
    """Writes one corpus' predictions."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_atomically(path, sink.getvalue().to_pybytes())


def read_predictions(path: Path) -> tuple[pa.Table, Provenance]:
    """
    Reads one corpus' predictions.

    Raises:
        RecordError: The file is missing, or is not one of ours.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such predictions; escoita eval writes them")
    try:
        table = pq.read_table(path)
        provenance = Provenance.model_validate_json(table.schema.metadata[_KEY])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValidationError) as error:
        raise RecordError(f"{path}: not a file of predictions") from error
    if provenance.schema_version != 1 or not table.schema.equals(SCHEMA):
        raise RecordError(f"{path}: predictions of another schema")
    if missing := [name for name in SCHEMA.names if table[name].null_count]:
        raise RecordError(f"{path}: predictions without a value in some rows of {missing[0]!r}")
    return table, provenance
