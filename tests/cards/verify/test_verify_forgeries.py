"""Test that each forgery gets the check and the verdict of the documentation."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from escoita.cards import fetch
from escoita.cards.publication import checksums
from escoita.cards.verify import published_files as plots
from escoita.cards.verify import verify as module
from escoita.cards.verify.check import Check
from escoita.cards.verify.consistency import check_consistency
from escoita.cards.verify.verify import passed, verify
from escoita.evaluation.aggregate import score
from escoita.evaluation.report.plots import drawings
from escoita.run_directory import RunDirectory
from escoita.utils.files import sha256
from tests.cards.forgeries import FORGERIES, Change, put, record, table
from tests.cards.verifiable_run import make_verifiable_run, published, write_files
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    return published(make_verifiable_run(tmp_path_factory.mktemp("proven") / "run"))


@pytest.fixture(autouse=True)
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the Hub unreachable, and cache slow results that are always equal."""
    monkeypatch.setattr(module, "HfApi", partial(HfApi, endpoint="http://127.0.0.1:9", token=False))
    monkeypatch.setattr(fetch, "require_readable", lambda source, folder: None)  # see test_parquet_probe.py
    monkeypatch.setattr(plots, "training_plot", drawn_once(plots.training_plot, lambda record: record.to_json()))
    monkeypatch.setattr(plots, "duration_plot", drawn_once(plots.duration_plot, lambda *figures: repr(figures)))


DRAWN: dict[tuple[str, str], Any] = {}


def drawn_once(draw: Callable[..., Any], key: Callable[..., str]) -> Callable[..., Any]:
    def drawn(*asked: Any) -> Any:
        known = draw.__name__, key(*asked)
        if known not in DRAWN:
            DRAWN[known] = draw(*asked)
        return DRAWN[known]

    drawn.__name__ = draw.__name__
    return drawn


def of_predictions(folder: Path, record: Any) -> str:
    return record.to_json() + "".join(sha256(path) for path in sorted(folder.glob("*/*.parquet")))


def verified(folder: Path, files: Mapping[str, bytes]) -> list[Check]:
    there = write_files(folder, {**files, "SHA256SUMS": checksums(files)})
    return verify(str(there), score, drawn_once(drawings, of_predictions))


@pytest.mark.parametrize("name", FORGERIES)
def test_forgery_gets_its_verdict(files: Mapping[str, bytes], tmp_path: Path, name: str) -> None:
    forgery, forged = FORGERIES[name], dict(files)
    forgery.change(forged)
    checks = verified(tmp_path, forged)
    found = [check for check in checks if check.what == forgery.check]
    verdicts = {check.verdict for check in found}
    assert forgery.verdict in verdicts, [(check.what, check.lines) for check in checks if check.verdict == "differs"]
    assert passed(checks) == (forgery.verdict != "differs")
    assert all(str(tmp_path) not in line for check in checks for line in [check.what, *check.lines])


def test_honest_repository_has_no_differences(files: Mapping[str, bytes], tmp_path: Path) -> None:
    checks = verified(tmp_path, files)
    assert passed(checks)
    assert {check.what for check in checks if check.verdict == "not checked"} == {"base's weights"}
    assert not passed(checks, strict=True)


def test_documentation_lists_each_forgery() -> None:
    assert len(FORGERIES) >= 60
    assert table() in (ROOT / "docs/security.md").read_text("utf-8")


def test_buffers_of_modules_are_not_trained_parameters(files: Mapping[str, bytes], tmp_path: Path) -> None:
    """PEFT saves fully trained modules with their buffers."""
    modules = {"kind": "modules", "modules": ["audio_tower", "language_model"], "trainable": {"audio": 192}}
    forged = dict(files)
    record("recipe.yaml", lambda it: it.update(method=modules))(forged)
    record("training.json", lambda it: it.update(method="modules", trainable_parameters={"audio": 192}))(forged)
    record("adapter_config.json", lambda it: it.update(modules_to_save=modules["modules"]))(forged)
    run = RunDirectory(write_files(tmp_path, forged))
    checks = check_consistency(run, run.load_recipe(), tmp_path)
    (adapter,) = [check for check in checks if check.what == "recipe and adapter"]
    assert not any("parameters" in line for line in adapter.lines)


@pytest.mark.parametrize(
    "change",
    [
        put("training.json", "processes", 0),
        put("training.json", "seed", 10**400),
        put("data.json", "duration_edges", [0.0, "NaN", 2.0]),
        put("data.json", "corpora", 0, "histogram", [1]),
        put("data.json", "corpora", 0, "audio_seconds", "NaN"),
        put("recipe.yaml", "method", "target_modules", "a{99999999999}"),
        put("recipe.yaml", "method", "target_modules", f"({'a|' * 20_000}b)"),
    ],
)
def test_invalid_number_or_expression_is_one_line(files: Mapping[str, bytes], tmp_path: Path, change: Change) -> None:
    forged = dict(files)
    change(forged)
    assert not passed(verify(str(write_files(tmp_path, forged)), score, drawings))
