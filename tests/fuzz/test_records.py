"""Export, compare and print evaluations whose records were forged."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from escoita.cli.tables import print_evaluation
from escoita.errors import EscoitaError
from escoita.evaluation.gate import gate
from escoita.evaluation.leaderboard import export_predictions
from escoita.records.evaluation import EvaluationRecord
from tests.cards.verifiable_run import make_verifiable_run


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_verifiable_run(tmp_path_factory.mktemp("records") / "run").eval


def forged(evaluation: Path, *path: Any) -> None:
    """Set a value of the record, given its keys and the value; an earlier forgery is undone."""
    original = evaluation / "original.json"
    if not original.exists():
        original.write_bytes((evaluation / "results.json").read_bytes())
    document = json.loads(original.read_text("utf-8"))
    *places, last, value = path
    part = document
    for place in places:
        part = part[place]
    part[last] = value
    (evaluation / "results.json").write_text(json.dumps(document), "utf-8")


NAMES = ["a\0b", "../../x", "x" * 5000, "\x1b[31m\n<script>\u202e", "/etc/passwd"]


@pytest.mark.parametrize("name", NAMES, ids=range(5))
@pytest.mark.parametrize("path", [("corpora", 0, "language"), ("systems", 0, "adapter")], ids=str)
def test_names_of_exported_files_are_plain(evaluation: Path, path: tuple[Any, ...], name: str, tmp_path: Path) -> None:
    forged(evaluation, *path, name)
    for written in export_predictions(evaluation, tmp_path / "out"):
        assert written.parent == tmp_path / "out" and written.is_file()
        assert written.name.isascii() and written.name.isprintable()


@pytest.mark.parametrize(
    "path",
    [
        ("systems", 0, "decoding", {"penalties": {"\x1b]0;x\x07": 1.5}}),
        ("rescored", {"normalizer": "\x1b[31m", "resamples": 9, "primary": "wer"}),
        ("systems", 0, "device", "\x1b[31m\u202e"),
        ("normalizer", "\x1b[31m"),
    ],
    ids=range(4),
)
def test_records_cannot_control_a_terminal(evaluation: Path, path: tuple[Any, ...]) -> None:
    forged(evaluation, *path)
    output = io.StringIO()
    print_evaluation(evaluation, Console(file=output, width=200))
    assert "\x1b" not in output.getvalue() and "\u202e" not in output.getvalue()


def test_impossible_resamples_are_not_drawn(evaluation: Path) -> None:
    forged(evaluation, "resamples", 10**17)
    found = gate(evaluation / "results.json", evaluation / "results.json")
    assert "resamples" in found.markdown()


def test_a_name_that_is_too_long_for_a_file_is_refused(evaluation: Path) -> None:
    forged(evaluation, "corpora", 0, "name", "x" * 5000)
    with pytest.raises(EscoitaError):
        EvaluationRecord.read(evaluation / "results.json")
