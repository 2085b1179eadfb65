from pathlib import Path

from bench.manifest import ROWS, measure_manifest, open_manifest, write_manifest
from escoita.data.readers import read_corpus
from escoita.recipe.schema import Corpus


def test_the_manifest_has_realistic_rows(tmp_path: Path) -> None:
    assert ROWS == 650_429
    write_manifest(tmp_path / "manifest.jsonl", 200)
    rows, rejected = read_corpus(Corpus(name="clips", path=str(tmp_path / "manifest.jsonl")), "gl")
    assert (len(rows), rejected) == (200, [])
    assert 50 < sum(map(len, rows.column("text"))) / 200 < 70
    first = rows[0]
    assert (first.id, first.language) == ("uz-000000", "uz")
    assert first.audio == str(tmp_path / "clips/000/000000.flac")
    assert first.speaker and first.duration and 1 <= first.duration <= 20


def test_opening_measures_rows_time_and_memory(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.jsonl", 20)
    opened = open_manifest(tmp_path / "manifest.jsonl")
    assert (opened.rows, opened.rejected) == (20, 0)
    assert opened.seconds > 0 and opened.growth_bytes >= 0


def test_the_measurements() -> None:
    seconds, growth, missing = measure_manifest(rows=3000, rounds=1)
    assert (seconds.unit, seconds.goal) == ("s", "at most 10")
    assert (growth.unit, growth.goal) == ("MB", "at most 500")
    # The peak memory of a process that inherited that of this one would not grow.
    assert growth.value > 0.5
    assert (missing.value, missing.met) == (0, True)
