import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from escoita.errors import RecordError
from eval.predictions import SCHEMA, Provenance, predictions_table, read_predictions
from tests.eval.samples import clip, write_rows


def test_round_trip(tmp_path: Path) -> None:
    path = write_rows(tmp_path, [("toʻrt", "tort", "a"), ("besh", "", "b")], rejected=3)
    table, provenance = read_predictions(path)
    assert provenance == Provenance("clips", "user/base", "b" * 64, "adapter", "a" * 64, 3)
    assert table.to_pylist() == [
        {
            "id": f"clips-{row}",
            "language": "uz",
            "speaker": "m6",
            "reference": reference,
            "hypothesis": hypothesis,
            "audio_seconds": 2.0,
            "compute_seconds": 0.5,
            "base_hypothesis": base,
            "base_compute_seconds": 1.0,
        }
        for row, reference, hypothesis, base in ((1, "toʻrt", "tort", "a"), (2, "besh", "", "b"))
    ]


def test_a_base_that_was_not_run_is_null(tmp_path: Path) -> None:
    table, _ = read_predictions(write_rows(tmp_path, [("bir", "bir", None)], adapter=None))
    assert table["base_hypothesis"].to_pylist() == table["base_compute_seconds"].to_pylist() == [None]
    assert table.schema.equals(SCHEMA)


def test_columns_must_be_of_one_length() -> None:
    with pytest.raises(pa.ArrowInvalid):
        predictions_table([clip("bir")], [], None, Provenance("clips", "base", "b" * 64, None, None, 0))


@pytest.mark.parametrize(
    "metadata, said",
    [
        (None, "not a file of predictions"),
        ({b"pandas": b"{}"}, "not a file of predictions"),
        ({b"escoita": b"{"}, "not a file of predictions"),
        ({b"escoita": b"{}"}, "not a file of predictions"),
        ({b"escoita": json.dumps({"schema": 1, "speed": 2}).encode()}, "not a file of predictions"),
        ({b"escoita": json.dumps({"schema": 2}).encode()}, "predictions of another schema"),
    ],
)
def test_tables_of_others_are_refused(tmp_path: Path, metadata: dict[bytes, bytes] | None, said: str) -> None:
    path = tmp_path / "predictions.parquet"
    pq.write_table(pa.table({"id": ["a"]}).replace_schema_metadata(metadata), path)
    with pytest.raises(RecordError) as refusal:
        read_predictions(path)
    assert str(refusal.value) == f"{path}: {said}"


@pytest.mark.parametrize("content", [None, b"", b"not parquet at all"])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "predictions.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordError, match="not a file of predictions"):
        read_predictions(path)
