import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import run
from bench.measurement import Measurement
from bench.table import BEGIN, END
from escoita.errors import EscoitaError


@pytest.fixture
def benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets the result of the first of the fake benchmarks."""
    (tmp_path / "performance.md").write_text(f"{BEGIN}{END}", "utf-8")
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(run, "DOCUMENT", tmp_path / "performance.md")
    monkeypatch.setattr(run, "measure_scoring", lambda: [Measurement("Time", 3.0, "s")])
    monkeypatch.setattr(run, "measure_manifest", lambda: [Measurement("Memory", 344.0, "MB", at_most=500)])
    monkeypatch.setattr(run, "measure_streaming", lambda directory: [Measurement("First text", 30.0, "ms")])
    monkeypatch.setattr(run, "measure_server", lambda directory: [Measurement("Clients", 3.0, "times as fast")])
    monkeypatch.setattr(run, "measure_reading", lambda: [Measurement("Segments", 50.0, "times as fast")])
    monkeypatch.setattr(run, "measure_training", lambda: [Measurement("Padding", 0.07, "of the audio")])

    def set_speed(speed: float) -> None:
        found = [Measurement("Speed", speed, "times as fast", at_least=6)]
        monkeypatch.setattr(run, "measure_transcriber", lambda directory: found)

    return set_speed


@pytest.mark.slow
def test_one_table_is_printed_and_written(
    benchmarks: Callable[[float], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmarks(7.5)
    run.bench()
    printed = capsys.readouterr().out
    assert printed.count("| met |") == 1 and "Measured on " in printed
    table = printed.split("\n\n")[0]
    assert table in (tmp_path / "performance.md").read_text("utf-8")
    names = [measurement["name"] for measurement in json.loads((tmp_path / "results.json").read_text("utf-8"))]
    assert names == ["Speed", "First text", "Clients", "Time", "Memory", "Segments", "Padding"]


def test_a_missed_goal_is_written_and_an_error(benchmarks: Callable[[float], None], tmp_path: Path) -> None:
    benchmarks(5.5)
    with pytest.raises(EscoitaError) as error:
        run.bench()
    assert "Speed" in str(error.value) and "Memory" not in str(error.value)
    assert [measurement["met"] for measurement in json.loads((tmp_path / "results.json").read_text("utf-8"))] == [
        False,
        None,
        None,
        None,
        True,
        None,
        None,
    ]


def test_a_single_benchmark_writes_no_files(
    benchmarks: Callable[[float], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmarks(5.5)
    run.bench(only="manifest")
    assert "Memory" in (printed := capsys.readouterr().out) and "Speed" not in printed
    assert not (tmp_path / "results.json").exists()
    assert (tmp_path / "performance.md").read_text("utf-8") == f"{BEGIN}{END}"


def test_the_script_has_a_help(command: Callable) -> None:
    done = command("bench/run.py", "--help")
    assert done.returncode == 0 and "--only" in done.stdout


@pytest.mark.slow
def test_a_run_without_an_adapter_is_refused(command: Callable, tmp_path: Path) -> None:
    done = command("bench/run.py", "--only", "transcriber", "--run", str(tmp_path))
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and str(tmp_path) in done.stderr
