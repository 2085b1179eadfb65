import json
from pathlib import Path

import pytest

from bench.measurement import Measurement
from bench.table import BEGIN, END, markdown_table, write_document, write_results
from escoita.errors import EscoitaError


FOUND = [
    Measurement("Speed", 7.8349, "times as fast", "the loop: 61.2 ms", at_least=6),
    Measurement("Memory", 612.0, "MB", at_most=500),
    Measurement("Time", 8.25, "ms"),
]
TABLE = """\
|        | measured |               | against           | goal        | met |
| ------ | -------: | ------------- | ----------------- | ----------- | --- |
| Speed  |     7.83 | times as fast | the loop: 61.2 ms | at least 6  | yes |
| Memory |      612 | MB            |                   | at most 500 | NO  |
| Time   |     8.25 | ms            |                   |             |     |"""


def test_the_table_is_aligned_and_marks_missed_goals() -> None:
    assert markdown_table(FOUND) == TABLE


def test_results_are_a_list_of_six_keys(tmp_path: Path) -> None:
    write_results(FOUND, tmp_path / "results.json")
    speed, memory, time = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert speed == {
        "name": "Speed",
        "value": 7.8349,
        "unit": "times as fast",
        "against": "the loop: 61.2 ms",
        "goal": "at least 6",
        "met": True,
    }
    assert (memory["goal"], memory["met"], memory["against"]) == ("at most 500", False, None)
    assert list(time) == list(speed) and (time["goal"], time["met"]) == (None, None)


def test_the_table_of_a_document_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"# Performance\n\n{BEGIN}\nan older table\n{END}\n\nHow it is measured.\n", "utf-8")
    for _ in range(2):
        write_document(FOUND, "a machine with 2 cores <of> its own", document)
    assert document.read_text("utf-8") == (
        f"# Performance\n\n{BEGIN}\n\n{TABLE}\n\nMeasured on a machine with 2 cores \\<of\\> its own.\n\n{END}\n\n"
        "How it is measured.\n"
    )


@pytest.mark.parametrize("text", [None, "no marks", BEGIN, f"{END} {BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_document_without_a_single_pair_of_marks_is_refused(tmp_path: Path, text: str | None) -> None:
    document = tmp_path / "performance.md"
    if text is not None:
        document.write_text(text, "utf-8")
    with pytest.raises(EscoitaError) as error:
        write_document(FOUND, "a machine", document)
    assert str(document) in str(error.value) and "\n" not in str(error.value)
