import json
from pathlib import Path

from bench.quickstart import load_clips
from bench.table import write_results
from bench.transcriber import measure_transcriber


def test_the_test_clips_come_first() -> None:
    clips = load_clips("uz")[:300]
    assert [clip.id for clip in clips[158:162]] == ["uz-test-0158", "uz-test-0159", "uz-train-0000", "uz-train-0001"]
    assert all(Path(path).is_file() for path in clips.column("audio"))


def test_the_loop_of_the_card_returns_the_texts_of_the_transcriber(quickstart_run: Path, tmp_path: Path) -> None:
    measurements = measure_transcriber(quickstart_run, clips=8, rounds=2)
    wall, cpu, different, time, rtfx = measurements
    assert (different.value, different.unit, different.met) == (0, "of 8", True)
    assert wall.goal == "at least 6" and cpu.goal is time.goal is rtfx.goal is None
    assert min(measurement.value for measurement in (wall, cpu, time, rtfx)) > 0
    write_results(measurements, tmp_path / "results.json")
    assert [line["name"] for line in json.loads((tmp_path / "results.json").read_text("utf-8"))][
        2
    ] == "Transcriber, texts that differ"
