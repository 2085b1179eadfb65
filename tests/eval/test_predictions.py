import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from escoita.corpora.rows import Utterances
from escoita.errors import RecordError
from eval.predictions import SCHEMA, Provenance, predictions_path, predictions_table, read_predictions
from tests.eval.samples import clip, system, write_rows


MADE = Provenance(corpus="clips", rejected=3, system=system("base"))


def test_round_trip(tmp_path: Path) -> None:
    known: list[dict[str, Any]] = [
        {"speaker": "m6", "gender": "male"},
        {"speaker": "f2", "accent": "Xorazm", "audio_seconds": 3.5},
    ]
    _, path = write_rows(tmp_path, [("toʻrt", "", "tort"), ("besh", "", "")], rejected=3, known=known)
    table, provenance = read_predictions(path)
    assert provenance == MADE
    assert table.schema.equals(SCHEMA)
    assert table.to_pylist() == [
        {
            "id": f"clips-{row}",
            "language": "uz",
            "speaker": speaker,
            "gender": gender,
            "accent": accent,
            "reference": reference,
            "hypothesis": heard,
            "audio_seconds": seconds,
            "compute_seconds": 1.0,
            "tokens": tokens,
            "truncated": False,
        }
        for row, speaker, gender, accent, reference, heard, seconds, tokens in (
            (1, "m6", "male", "", "toʻrt", "tort", 2.0, 2),
            (2, "f2", "", "Xorazm", "besh", "", 3.5, 0),
        )
    ]


def test_each_system_has_a_file_of_its_own(tmp_path: Path) -> None:
    assert predictions_path(tmp_path, "clips", "adapter") == tmp_path / "clips/predictions.parquet"
    assert predictions_path(tmp_path, "clips", "whisper-tiny") == tmp_path / "clips/predictions-whisper-tiny.parquet"


def test_columns_must_be_of_one_length() -> None:
    with pytest.raises(pa.ArrowInvalid):
        predictions_table(Utterances.of([clip("bir")]), [], MADE)


@pytest.mark.parametrize(
    "metadata, said",
    [
        (None, "not a file of predictions"),
        ({b"pandas": b"{}"}, "not a file of predictions"),
        ({b"escoita": b"{"}, "not a file of predictions"),
        ({b"escoita": b"{}"}, "not a file of predictions"),
        ({b"escoita": json.dumps({"schema": 1, "speed": 2}).encode()}, "not a file of predictions"),
        ({b"escoita": MADE.model_dump_json().replace('"clips"', '"../clips"').encode()}, "not a file of predictions"),
        ({b"escoita": MADE.model_copy(update={"schema_version": 2}).model_dump_json().encode()}, "another schema"),
        ({b"escoita": MADE.model_dump_json().encode()}, "predictions of another schema"),
    ],
)
def test_tables_of_others_are_refused(tmp_path: Path, metadata: dict[bytes, bytes] | None, said: str) -> None:
    path = tmp_path / "predictions.parquet"
    pq.write_table(pa.table({"id": ["a"]}).replace_schema_metadata(metadata), path)
    with pytest.raises(RecordError) as refusal:
        read_predictions(path)
    assert str(refusal.value).startswith(f"{path}: ") and str(refusal.value).endswith(said)


@pytest.mark.parametrize("content", [b"", b"not parquet at all"])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "predictions.parquet"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="predictions.parquet: not a file of predictions$"):
        read_predictions(path)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such predictions; escoita eval writes them$"):
        read_predictions(tmp_path / "predictions.parquet")


@pytest.mark.parametrize("column", ["hypothesis", "compute_seconds"])
def test_a_missing_value_is_not_taken_for_an_empty_one(tmp_path: Path, column: str) -> None:
    (path,) = write_rows(tmp_path, [("bir", "bir"), ("ikki", "ikki")], systems=["adapter"])
    table = pq.read_table(path)
    place = SCHEMA.get_field_index(column)
    holed = pa.array([table[column][0].as_py(), None], SCHEMA.field(column).type)
    pq.write_table(table.set_column(place, SCHEMA.field(column), holed), path)
    with pytest.raises(RecordError, match=f"predictions without a value in some rows of '{column}'$"):
        read_predictions(path)
