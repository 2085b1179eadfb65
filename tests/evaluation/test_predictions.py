import json
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.rows import Utterances
from escoita.errors import RecordError
from escoita.evaluation.errors import MissingPredictionsError
from escoita.evaluation.predictions import (
    SCHEMA,
    Provenance,
    hashed,
    opened,
    predictions_path,
    predictions_table,
    public,
    public_ids,
    public_speakers,
    read_predictions,
    write_predictions,
)
from tests.evaluation.samples import clip, system, write_rows


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
            "hypothesis": hypothesis,
            "audio_seconds": seconds,
            "compute_seconds": 1.0,
            "tokens": tokens,
            "truncated": False,
        }
        for row, speaker, gender, accent, reference, hypothesis, seconds, tokens in (
            (1, "m6", "male", "", "toʻrt", "tort", 2.0, 2),
            (2, "f2", "", "Xorazm", "besh", "", 3.5, 0),
        )
    ]


def test_each_system_has_its_own_file(tmp_path: Path) -> None:
    assert predictions_path(tmp_path, "clips", "adapter") == tmp_path / "clips/predictions.parquet"
    assert predictions_path(tmp_path, "clips", "whisper-tiny") == tmp_path / "clips/predictions-whisper-tiny.parquet"


def test_columns_must_be_of_one_length() -> None:
    with pytest.raises(pa.ArrowInvalid):
        predictions_table(Utterances.of([clip("bir")]), [], MADE)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {b"pandas": b"{}"},
        {b"escoita": b"{"},
        {b"escoita": b"{}"},
        {b"escoita": json.dumps({"schema": 1, "speed": 2}).encode()},
        {b"escoita": MADE.model_dump_json().replace('"clips"', '"../clips"').encode()},
        {b"escoita": MADE.model_copy(update={"schema_version": 2}).model_dump_json().encode()},
        {b"escoita": MADE.model_dump_json().encode()},
    ],
)
def test_other_tables_are_refused(tmp_path: Path, metadata: dict[bytes, bytes] | None) -> None:
    path = tmp_path / "predictions.parquet"
    pq.write_table(pa.table({"id": ["a"]}).replace_schema_metadata(metadata), path)
    with pytest.raises(RecordError) as refusal:
        read_predictions(path)
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"not parquet at all"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "predictions.parquet"
    path.write_bytes(content)
    with pytest.raises(RecordError):
        read_predictions(path)


def test_missing_predictions_are_reported(tmp_path: Path) -> None:
    with pytest.raises(MissingPredictionsError) as refusal:
        read_predictions(tmp_path / "predictions.parquet")
    assert refusal.value.path == tmp_path / "predictions.parquet"


@pytest.mark.parametrize("column", ["hypothesis", "compute_seconds"])
def test_missing_values_are_refused(tmp_path: Path, column: str) -> None:
    (path,) = write_rows(tmp_path, [("bir", "bir"), ("ikki", "ikki")], systems=["adapter"])
    table = pq.read_table(path)
    place = SCHEMA.get_field_index(column)
    values = pa.array([table[column][0].as_py(), None], SCHEMA.field(column).type)
    pq.write_table(table.set_column(place, SCHEMA.field(column), values), path)
    with pytest.raises(RecordError) as refusal:
        read_predictions(path)
    assert (refusal.value.path, refusal.value.key) == (path, column)


def test_speakers_are_numbered_in_their_order() -> None:
    assert public_speakers(["m6", "", "f2", "m6"]) == {"": "", "f2": "s001", "m6": "s002"}
    many = public_speakers(f"{place:05}" for place in range(1500))
    assert list(many.values())[1:3] == ["s0001", "s0002"] and sorted(many.values()) == list(many.values())


@pytest.mark.parametrize(
    "id, speaker, public",
    [
        ("maria_0001", "maria", "s001_0001"),
        ("Maria0001", "maria", "s0010001"),
        ("glf_00295_00017", "00295", "glf_s001_00017"),
        ("glF00295x17", "F00295", "gls001x17"),
        ("1-11", "1", "s001-11"),
        ("anabel_01", "ana", "anabel_01"),
        ("clip-1", "", "clip-1"),
        ("common_voice_gl_1", "0f" * 64, "common_voice_gl_1"),
        ("/home/ana/0001", "f3", "0001"),
    ],
)
def test_the_speaker_is_removed_from_the_id_of_a_clip(id: str, speaker: str, public: str) -> None:
    assert public_ids([id], [speaker]) == [public]


def test_clips_with_the_same_public_id_are_numbered() -> None:
    assert public_ids(["ana_1", "s001_1"], ["ana", "ana"]) == ["000001", "000002"]


@given(
    st.lists(st.tuples(st.text("ab1_-", max_size=6), st.text("ab1_", max_size=2)), max_size=8, unique_by=itemgetter(0))
)
def test_published_names_stay_the_same(rows: list[tuple[str, str]]) -> None:
    ids, speakers = [id for id, _ in rows], [speaker for _, speaker in rows]
    names = public_speakers(speakers)
    public, renamed = public_ids(ids, speakers), [names[speaker] for speaker in speakers]
    assert public_ids(public, renamed) == public
    assert public_speakers(renamed) == {name: name for name in names.values()} | {"": ""}
    assert len(set(public)) == len(ids)


def test_published_predictions_name_no_speaker_and_no_withheld_reference(tmp_path: Path) -> None:
    known: list[dict[str, Any]] = [{"speaker": "maria"}, {"speaker": "ana"}, {}]
    (path,) = write_rows(tmp_path, [("bir", "ber"), ("ikki", ""), ("uch", "")], systems=["base"], known=known)
    table, provenance = public(*read_predictions(path), withheld=False)
    assert table["speaker"].to_pylist() == ["s002", "s001", ""]
    assert table["reference"].to_pylist() == ["bir", "ikki", "uch"] and provenance.references == "open"
    table, provenance = public(table, provenance, withheld=True)
    assert table["reference"].to_pylist() == [hashed("bir"), hashed("ikki"), hashed("uch")]
    write_predictions(table, path)
    assert read_predictions(path)[1].references == provenance.references == "hashed"
    assert public(table, provenance, withheld=True)[0].equals(table)


def test_hashed_references_can_be_replaced_by_the_references(tmp_path: Path) -> None:
    (path,) = write_rows(tmp_path, [("bir", "ber"), ("ikki", "")], systems=["base"])
    closed = public(*read_predictions(path), withheld=True)
    table, provenance = opened(*closed, ["bir", "ikki"])
    assert (table["reference"].to_pylist(), provenance.references) == (["bir", "ikki"], "open")
    for references, row in ((["bir", "uch"], 2), (["bir"], None)):
        with pytest.raises(RecordError) as refusal:
            opened(*closed, references)
        assert (refusal.value.path, refusal.value.row) == ("clips", row)
