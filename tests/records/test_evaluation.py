import json
from pathlib import Path
from typing import Any

import pytest

from escoita.errors import RecordError
from escoita.records.evaluation import EvaluationRecord
from tests.cards.samples import evaluation, result, system, system_result


def test_results_and_differences_are_found_by_system() -> None:
    found = result(systems=[system_result(), system_result("base"), system_result("whisper")])
    assert found.main_system.system == "adapter" and found.main_system.normalized.wer == 0.07118
    assert found.of("base") == system_result("base") and found.of("ctc") is None
    whisper = found.against("whisper")
    assert whisper and whisper.other == "whisper"
    assert found.against("adapter") is found.against("ctc") is None


def test_a_table_shows_the_pool_of_several_corpora_only() -> None:
    assert [row.name for row in evaluation().rows] == ["clips"]
    assert [row.name for row in evaluation(result(), result("more")).rows] == ["clips", "more", "pooled"]


@pytest.mark.parametrize(
    "change, key",
    [
        ({"systems": []}, "systems"),
        ({"corpora": [result().model_dump() | {"systems": []}]}, "corpora.0.systems"),
        ({"corpora": [result().model_dump() | {"name": "../a"}]}, "corpora.0.name"),
        ({"systems": [system().model_dump() | {"name": "a|b"}]}, "systems.0.name"),
        ({"corpora": [result().model_dump() | {"unit": "word"}]}, "corpora.0.unit"),
    ],
)
def test_untrusted_results_are_validated(tmp_path: Path, change: dict[str, Any], key: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(evaluation().model_dump(mode="json", by_alias=True) | change), "utf-8")
    with pytest.raises(RecordError) as error:
        EvaluationRecord.read(path)
    assert error.value.path == path and f"{key}: " in error.value.problem
