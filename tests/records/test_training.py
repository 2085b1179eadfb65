import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from escoita.errors import RecordError
from escoita.records.evaluation import EvaluationRecord
from escoita.records.training import AdapterRecord, LossPoint, Prompt, Record, TrainingRecord
from escoita.utils.limits import LOSS_POINTS
from tests.cards.samples import evaluation, heard, heard_training, result, system


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


@pytest.mark.parametrize("value", ["NaN", "Infinity", float("nan"), float("-inf"), 10**18, -(10**400), "1" * 4000])
def test_no_figure_but_a_loss_is_infinite_or_has_many_digits(tmp_path: Path, value: Any) -> None:
    document = heard_training().model_dump(mode="json", by_alias=True)
    for change in ({"epochs": value}, {"steps": value}, {"validation": [document["validation"][1] | {"wer": value}]}):
        (tmp_path / "training.json").write_text(json.dumps(document | change), "utf-8")
        with pytest.raises(RecordError, match=r"training\.json: not a record of schema 1 \(") as refusal:
            TrainingRecord.read(tmp_path / "training.json")
        assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400


def test_a_curve_has_a_limited_number_of_points(tmp_path: Path) -> None:
    document = heard_training().model_dump(mode="json", by_alias=True)
    document["loss"] = [{"step": step, "loss": 1.0} for step in range(LOSS_POINTS + 1)]
    (tmp_path / "training.json").write_text(json.dumps(document), "utf-8")
    with pytest.raises(RecordError, match=f"at most {LOSS_POINTS} items"):
        TrainingRecord.read(tmp_path / "training.json")


def test_a_long_key_is_cut_and_visible_in_the_message(tmp_path: Path) -> None:
    (tmp_path / "escoita.json").write_text(json.dumps({"\n\x1b" + "x" * 100_000: 1}), "utf-8")
    with pytest.raises(RecordError) as refusal:
        AdapterRecord.read(tmp_path / "escoita.json")
    assert len(str(refusal.value)) < 500 and str(refusal.value).isprintable()


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
    with pytest.raises(RecordError, match="not a regular file"):
        AdapterRecord.read(tmp_path)


def test_a_result_is_asked_for_its_systems() -> None:
    found = result(systems=[heard(), heard("base"), heard("whisper")])
    assert found.main_system.system == "adapter" and found.main_system.normalized.wer == 0.07118
    assert found.of("base") == heard("base") and found.of("ctc") is None
    whisper = found.against("whisper")
    assert whisper and whisper.other == "whisper"
    assert found.against("adapter") is found.against("ctc") is None


def test_a_table_shows_the_pool_only_where_it_says_more() -> None:
    assert [row.name for row in evaluation().rows] == ["clips"]
    assert [row.name for row in evaluation(result(), result("more")).rows] == ["clips", "more", "pooled"]


@pytest.mark.parametrize(
    "change, where",
    [
        ({"systems": []}, "systems: List should have at least 1 item"),
        (
            {"corpora": [result().model_dump() | {"systems": []}]},
            "corpora.0.systems: List should have at least 1 item",
        ),
        ({"corpora": [result().model_dump() | {"name": "../a"}]}, "corpora.0.name: String should match pattern"),
        ({"systems": [system().model_dump() | {"name": "a|b"}]}, "systems.0.name: String should match pattern"),
        ({"corpora": [result().model_dump() | {"unit": "word"}]}, "corpora.0.unit: Input should be"),
    ],
)
def test_results_of_others_are_no_trap(tmp_path: Path, change: dict[str, Any], where: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(evaluation().model_dump(mode="json", by_alias=True) | change), "utf-8")
    with pytest.raises(RecordError) as refusal:
        EvaluationRecord.read(path)
    assert str(refusal.value).startswith(f"{path}: not a record of schema 1 ({where}")
