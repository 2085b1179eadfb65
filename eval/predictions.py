"""`predictions.parquet`: what was said, what was heard, how long it took. Every rate is made from it alone."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from escoita.corpora import Utterance
from escoita.errors import RecordError
from escoita.files import write_atomically
from escoita.transcribe import Transcript


SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("language", pa.string()),
        ("speaker", pa.string()),
        ("reference", pa.string()),
        ("hypothesis", pa.string()),
        ("audio_seconds", pa.float64()),
        ("compute_seconds", pa.float64()),
        ("base_hypothesis", pa.string()),  # null where the base was not run
        ("base_compute_seconds", pa.float64()),
    ]
)
_KEY = b"escoita"


@dataclass(frozen=True)
class Provenance:
    """
    What the rows of a file do not say.

    Args:
        corpus (`str`): Name of the corpus.
        base (`str`): Folder or repository of the base model.
        base_sha256 (`str`): Digest of its weight files.
        adapter (`str`, *optional*): Folder or repository of the adapter.
        adapter_sha256 (`str`, *optional*): Digest of its weight file.
        rejected (`int`): Rows of the manifest that could not be used.
    """

    corpus: str
    base: str
    base_sha256: str
    adapter: str | None
    adapter_sha256: str | None
    rejected: int


def predictions_table(
    clips: Sequence[Utterance],
    heard: Sequence[Transcript],
    base_heard: Sequence[Transcript] | None,
    provenance: Provenance,
) -> pa.Table:
    """Puts references, hypotheses and times of one corpus side by side, in the order of its manifest."""
    columns = {
        "id": [clip.id for clip in clips],
        "language": [clip.language for clip in clips],
        "speaker": [clip.speaker for clip in clips],
        "reference": [clip.text for clip in clips],
        "hypothesis": [transcript.text for transcript in heard],
        "audio_seconds": [clip.audio_seconds for clip in clips],
        "compute_seconds": [transcript.compute_seconds for transcript in heard],
        "base_hypothesis": [transcript.text for transcript in base_heard] if base_heard else [None] * len(clips),
        "base_compute_seconds": [t.compute_seconds for t in base_heard] if base_heard else [None] * len(clips),
    }
    metadata = {_KEY: json.dumps({"schema": 1, **asdict(provenance)}).encode()}
    return pa.table(columns, schema=SCHEMA.with_metadata(metadata))


def write_predictions(table: pa.Table, path: Path) -> None:
    """Writes one corpus' predictions."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_atomically(path, sink.getvalue().to_pybytes())


def read_predictions(path: Path) -> tuple[pa.Table, Provenance]:
    """
    Reads one corpus' predictions.

    Raises:
        RecordError: The file is not one of ours.
    """
    try:
        table = pq.read_table(path)
        fields = json.loads(table.schema.metadata[_KEY])
        if fields.pop("schema") != 1:
            raise RecordError(f"{path}: predictions of another schema")
        return table, Provenance(**fields)
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: not a file of predictions") from error
