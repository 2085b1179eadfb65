import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from escoita.errors import RecordError
from escoita.records import AdapterRecord, CorpusResult, LossPoint, Prompt, Record


RECORD = AdapterRecord(language="uz", prompt=Prompt(user="Transcrición, ñ"), max_new_tokens=64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "adapter" / "escoita.json"


def test_round_trip(path: Path) -> None:
    RECORD.write(path)
    assert AdapterRecord.read(path) == RECORD
    assert json.loads(path.read_text("utf-8"))["schema"] == 1
    assert "ñ" in path.read_text("utf-8") and path.read_text("utf-8").endswith("}\n")


def test_a_loss_that_is_no_number_stays_one(tmp_path: Path) -> None:
    class Curve(Record):
        loss: list[LossPoint]

    Curve(loss=[LossPoint(step=1, loss=float("nan"))]).write(tmp_path / "curve.json")
    assert math.isnan(Curve.read(tmp_path / "curve.json").loss[0].loss)


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RECORD.language = "gl"  # type: ignore[misc]


@pytest.mark.parametrize(
    "change, where",
    [
        ({"schema": 2}, "schema: "),
        ({"schema": "one"}, "schema: "),
        ({"epochs": 3}, "epochs: Extra inputs are not permitted"),
        ({"prompt": {"user": "a", "assistant": "b"}}, "prompt.assistant: Extra inputs are not permitted"),
        ({"prompt": {}}, "prompt.user: Field required"),
        ({"max_new_tokens": "many"}, "max_new_tokens: Input should be a valid integer"),
    ],
)
def test_another_schema_is_refused(path: Path, change: dict[str, Any], where: str) -> None:
    RECORD.write(path)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(RecordError) as refusal:
        AdapterRecord.read(path)
    assert str(refusal.value).startswith(f"{path}: not a record of schema 1 ({where}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_what_is_not_a_record_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(RecordError) as refusal:
        AdapterRecord.read(path)
    assert str(refusal.value).startswith(f"{path}: not a record of schema 1 (the file: ")
    assert "\n" not in str(refusal.value)


def test_a_missing_record(path: Path) -> None:
    with pytest.raises(RecordError, match="escoita.json: no such record yet; escoita train writes it$"):
        AdapterRecord.read(path)


def test_a_folder_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such record yet; escoita train writes it$"):
        AdapterRecord.read(tmp_path)


def test_the_base_is_optional_in_a_result() -> None:
    result = CorpusResult(
        name="clips",
        language="uz",
        n=1,
        rejected=0,
        audio_seconds=1.0,
        reference_words=2,
        wer=0.5,
        cer=0.25,
        wer_ci95=(0.0, 1.0),
        cer_ci95=(0.0, 0.5),
        substitutions=1,
        deletions=0,
        insertions=0,
        rtfx=3.0,
    )
    assert result.base_wer is result.base_cer is result.base_wer_ci95 is result.base_rtfx is None
