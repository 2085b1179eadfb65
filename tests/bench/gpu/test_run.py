"""Test the GPU check: its outcomes, and the whole script at toy size on a CPU."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.gpu import run as gpu_check
from bench.gpu.part import Context, Figure, Part
from bench.gpu.training_parts import check_four_bit, check_machine
from tests.conftest import ROOT


@pytest.mark.parametrize(
    "figure, passed, expected",
    [
        (Figure("a", 1.0), True, ""),
        (Figure("a", 1.0, "s", at_most=2), True, "at most 2"),
        (Figure("a", 3.0, "s", at_most=2), False, "at most 2"),
        (Figure("a", 0.9, "s", at_least=1, at_most=2), False, "at least 1 and at most 2"),
        (Figure("a", math.nan), False, ""),
    ],
)
def test_a_figure_passes_within_its_limits(figure: Figure, passed: bool, expected: str) -> None:
    assert (figure.passed, figure.expected) == (passed, expected)
    assert ("FAILED" in str(figure)) is not passed


def raising(context: Context) -> list[Figure]:
    raise RuntimeError("no kernel\nimage")


PARTS = (
    Part("good", 1, ("json",), lambda context: [Figure("x", 1.0, "s", 1, 1)]),
    Part("bad", 1, (), lambda context: [Figure("x", math.inf), Figure("y", 1.0)]),
    Part("broken", 1, (), raising),
    Part("missing", 1, ("json", "not_a_module"), raising),
)


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "PARTS", PARTS)
    monkeypatch.setattr(gpu_check, "machine", lambda: {"device": "none"})


def outcomes(out: Path) -> dict[str, Any]:
    document = json.loads(out.read_text("utf-8"))
    return {part["name"]: part for part in document["parts"]} | {"": document["passed"]}


@pytest.mark.usefixtures("cpu")
def test_one_failed_part_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not gpu_check.check("toy", [], tmp_path / "out.json", tmp_path)
    found = outcomes(tmp_path / "out.json")
    assert [found[part.name]["status"] for part in PARTS] == ["passed", "failed", "failed", "skipped"]
    assert found["bad"]["reason"] == "x" and found["bad"]["figures"][0]["value"] is None
    assert "RuntimeError" in found["broken"]["reason"] and "\n" not in found["broken"]["reason"]
    assert "not_a_module" in found["missing"]["reason"] and "json" not in found["missing"]["reason"]
    printed = capsys.readouterr().out
    assert "FAILED: 1 passed, 2 failed, 1 skipped" in printed and "expected at least 1" in printed


@pytest.mark.usefixtures("cpu")
def test_skipped_parts_do_not_fail_the_check(tmp_path: Path) -> None:
    assert gpu_check.check("toy", ["good", "missing"], tmp_path / "out.json", tmp_path)
    assert not gpu_check.check("toy", ["missing"], tmp_path / "out.json", tmp_path), "nothing was checked"


@pytest.mark.usefixtures("cpu")
def test_the_full_size_needs_a_gpu(tmp_path: Path) -> None:
    assert not gpu_check.check("full", [], tmp_path / "out.json", tmp_path)
    found = outcomes(tmp_path / "out.json")
    assert {found[part.name]["status"] for part in PARTS} == {"skipped"} and not found[""]


def test_the_time_limits_leave_no_more_than_eight_minutes() -> None:
    assert gpu_check.MOST_SECONDS <= 480
    assert all(part.seconds <= gpu_check.MOST_SECONDS for part in gpu_check.PARTS)


@pytest.mark.slow
@pytest.mark.parametrize("part", [check_machine, check_four_bit])
def test_parts_at_full_size_that_a_cpu_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: Callable[[Context], list[Figure]]
) -> None:
    """The preflight check accepts both recipes on bases with the published sizes."""
    if part is check_four_bit:
        pytest.importorskip("bitsandbytes")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    figures = part(Context(tmp_path, toy=False, device="cpu"))
    assert figures and not [str(figure) for figure in figures if not figure.passed]


@pytest.mark.slow
def test_the_whole_check_at_toy_size(tmp_path: Path) -> None:
    """About a minute of CPU time; without bitsandbytes, three parts are skipped."""
    ended = subprocess.run(
        [sys.executable, "bench/gpu/run.py", "--size", "toy", "--out", str(tmp_path / "check.json")],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-5000:]
    document = json.loads((tmp_path / "check.json").read_text("utf-8"))
    assert document["passed"] and document["size"] == "toy" and document["machine"]["device"] == "none"
    assert [part["name"] for part in document["parts"]] == [part.name for part in gpu_check.PARTS]
    assert {part["status"] for part in document["parts"]} <= {"passed", "skipped"}
    assert all("bitsandbytes" in part["reason"] for part in document["parts"] if part["status"] == "skipped")
