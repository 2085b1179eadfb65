"""Test the check with published weights and real speech, at toy size: a tiny Whisper, and clips of tones."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import real
from bench.gpu.part import Figure
from bench.real import Check, StageError
from escoita.errors import EscoitaError
from tests.conftest import ROOT
from tests.integration.test_whisper import write_corpus
from tests.models.samples import write_whisper


def check(out: Path, base: str = "base", steps: int = 4) -> Check:
    return Check(base, "", "gl", steps, clips=2, learning_rate=1e-3, out=out)


def document(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "real-check.json").read_text("utf-8"))
    return found


def refuse(check: Check) -> list[Figure]:
    raise StageError(key="train", value="status 1")


def test_a_failed_limit_is_a_failure_and_the_next_stages_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = {"a": lambda _: [Figure("x", 2.0, at_most=1)], "b": lambda _: [Figure("y", 1.0)]}
    monkeypatch.setattr(real, "STAGES", stages)
    assert not real.run_check(check(tmp_path))
    assert [each["status"] for each in document(tmp_path)["stages"]] == ["failed", "passed"]


def test_no_stage_runs_after_a_command_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "STAGES", {"a": refuse, "b": lambda _: []})
    assert not real.run_check(check(tmp_path))
    assert [each["name"] for each in document(tmp_path)["stages"]] == ["a"]


def test_a_stage_that_passed_is_not_run_again_unless_a_setting_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real, "STAGES", {"a": lambda _: [Figure("x", 1.0)], "b": refuse})
    assert not real.run_check(check(tmp_path))
    monkeypatch.setattr(real, "STAGES", {"a": refuse, "b": lambda _: [Figure("y", 1.0)]})
    assert real.run_check(check(tmp_path)) and document(tmp_path)["passed"]
    with pytest.raises(EscoitaError) as refused:
        real.run_check(check(tmp_path, steps=5))
    assert refused.value.path == tmp_path / "real-check.json"


def test_a_command_that_fails_is_reported_with_its_status(tmp_path: Path) -> None:
    with pytest.raises(StageError) as failed:
        check(tmp_path).escoita("train", tmp_path / "missing.yaml")
    assert (failed.value.key, failed.value.value) == ("train", "status 1")


def test_without_a_corpus_the_recipe_reads_fleurs(tmp_path: Path) -> None:
    from escoita.recipe.schema import load_recipe

    made = check(tmp_path, base=write_whisper(tmp_path / "base"))
    real.prepare(made)
    corpora = load_recipe(made.recipe).corpora
    assert [(each.reader, each.split, each.limit) for each in (corpora.train[0], corpora.test[0])] == [
        ("fleurs", "train", 4 * real.CLIPS_PER_STEP),
        ("fleurs", "test", 2),
    ]


@pytest.mark.slow
def test_the_whole_check_at_toy_size(tmp_path: Path) -> None:
    base = write_whisper(tmp_path / "base", width=64, positions=448, seconds=1, learns=True)
    corpus = write_corpus(tmp_path / "clips", 100, 0)
    arguments = ("--base", base, "--corpus", str(corpus), "--steps", "40", "--learning-rate", "0.01")
    out = tmp_path / "out"
    ran = subprocess.run(
        [sys.executable, str(ROOT / "bench/real.py"), *arguments, "--out", str(out)],
        env=dict(os.environ) | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = document(out)
    assert [each["name"] for each in found["stages"]] == list(real.STAGES)
    figures = {each["name"]: each["value"] for each in found["stages"][2]["figures"]}
    assert figures["CER, adapter"] < figures["CER, base"] and figures["WER, adapter"] < figures["WER, base"]
