import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from escoita.errors import RecordError
from escoita.records.training import AdapterRecord, LossPoint, MissingRecordError, Prompt, Record, TrainingRecord
from escoita.utils.limits import LOSS_POINTS
from tests.cards.samples import validated_training


RECORD = AdapterRecord(language="uz", prompt=Prompt(user="Transcrición, ñ"), max_new_tokens=64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "adapter" / "escoita.json"


def test_round_trip(path: Path) -> None:
    RECORD.write(path)
    assert AdapterRecord.read(path) == RECORD
    assert json.loads(path.read_text("utf-8"))["schema"] == 1
    assert "ñ" in path.read_text("utf-8") and path.read_text("utf-8").endswith("}\n")


def test_a_loss_that_is_nan_can_be_written_and_read(tmp_path: Path) -> None:
    class Curve(Record):
        loss: list[LossPoint]

    Curve(loss=[LossPoint(step=1, loss=float("nan"))]).write(tmp_path / "curve.json")
    assert math.isnan(Curve.read(tmp_path / "curve.json").loss[0].loss)


@pytest.mark.parametrize("value", ["NaN", "Infinity", float("nan"), float("-inf"), 10**18, -(10**400), "1" * 4000])
def test_only_a_loss_may_be_infinite_and_no_number_has_many_digits(tmp_path: Path, value: Any) -> None:
    document = validated_training().model_dump(mode="json", by_alias=True)
    for change in ({"epochs": value}, {"steps": value}, {"validation": [document["validation"][1] | {"wer": value}]}):
        (tmp_path / "training.json").write_text(json.dumps(document | change), "utf-8")
        with pytest.raises(RecordError) as error:
            TrainingRecord.read(tmp_path / "training.json")
        assert error.value.path == tmp_path / "training.json" and not isinstance(error.value, MissingRecordError)
        assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_curve_has_a_limited_number_of_points(tmp_path: Path) -> None:
    document = validated_training().model_dump(mode="json", by_alias=True)
    document["loss"] = [{"step": step, "loss": 1.0} for step in range(LOSS_POINTS + 1)]
    (tmp_path / "training.json").write_text(json.dumps(document), "utf-8")
    with pytest.raises(RecordError) as error:
        TrainingRecord.read(tmp_path / "training.json")
    assert error.value.path == tmp_path / "training.json" and "loss" in error.value.problem


def test_a_long_key_is_shortened_and_escaped_in_the_message(tmp_path: Path) -> None:
    (tmp_path / "escoita.json").write_text(json.dumps({"\n\x1b" + "x" * 100_000: 1}), "utf-8")
    with pytest.raises(RecordError) as error:
        AdapterRecord.read(tmp_path / "escoita.json")
    assert len(str(error.value)) < 500 and str(error.value).isprintable()


def test_records_are_immutable() -> None:
    with pytest.raises(ValidationError):
        RECORD.language = "gl"  # type: ignore[misc]


@pytest.mark.parametrize(
    "change, key",
    [
        ({"schema": 2}, "schema"),
        ({"schema": "one"}, "schema"),
        ({"epochs": 3}, "epochs"),
        ({"prompt": {"user": "a", "assistant": "b"}}, "prompt.assistant"),
        ({"prompt": {}}, "prompt.user"),
        ({"max_new_tokens": "many"}, "max_new_tokens"),
    ],
)
def test_another_schema_is_refused(path: Path, change: dict[str, Any], key: str) -> None:
    RECORD.write(path)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(RecordError) as error:
        AdapterRecord.read(path)
    assert error.value.path == path and f"{key}: " in error.value.problem
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_file_that_is_not_a_record_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(RecordError) as error:
        AdapterRecord.read(path)
    assert error.value.path == path and not isinstance(error.value, MissingRecordError)
    assert "\n" not in str(error.value)


def test_a_missing_record(path: Path) -> None:
    with pytest.raises(MissingRecordError) as error:
        AdapterRecord.read(path)
    assert (error.value.path, error.value.command) == (path, "escoita train")


def test_a_folder_is_not_a_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError) as error:
        AdapterRecord.read(tmp_path)
    assert not isinstance(error.value, MissingRecordError)
