import json
from pathlib import Path
from typing import Any

import pytest

from escoita.errors import RecordError
from escoita.records.data import DataRecord
from escoita.records.training import MissingRecordError
from escoita.utils.limits import CORPORA, HISTOGRAM_BINS
from tests.cli.test_data_view import record_of
from tests.data.measures import clip, measured


@pytest.fixture
def document() -> dict[str, Any]:
    record = record_of(measured(clip("bir", 3.0), clip("ikki", 7.0)))
    return record.model_dump(mode="json", by_alias=True)


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return document | changes


def bins(document: dict[str, Any], count: int) -> dict[str, Any]:
    corpora = [corpus | {"histogram": [1] * count} for corpus in document["corpora"]]
    return document | {"duration_edges": list(range(count)), "corpora": corpora}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: changed(d, duration_edges=[]),
        lambda d: changed(d, duration_edges=[*d["duration_edges"], 1e9]),
        lambda d: changed(d, duration_edges=d["duration_edges"][::-1]),
        lambda d: changed(d, duration_edges=[0.0] * len(d["duration_edges"])),
        lambda d: bins(d, HISTOGRAM_BINS + 1),
        lambda d: changed(d, corpora=d["corpora"][:1] * (CORPORA + 1)),
    ],
)
def test_a_histogram_that_cannot_be_plotted_is_refused(document: dict[str, Any], tmp_path: Path, change: Any) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(document), "utf-8")
    DataRecord.read(path)
    path.write_text(json.dumps(change(document)), "utf-8")
    with pytest.raises(RecordError) as error:
        DataRecord.read(path)
    assert error.value.path == path and not isinstance(error.value, MissingRecordError)
