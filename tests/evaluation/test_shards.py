"""Check that merged shards equal the output of one process, and which shards are refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.errors import EscoitaError, RecordError
from escoita.evaluation.errors import (
    DuplicateClipError,
    MisplacedPredictionsError,
    MissingShardError,
    OtherModelError,
    OtherShardError,
)
from escoita.evaluation.evaluate import evaluate_run, transcribe_shard
from escoita.evaluation.predict import JOURNAL
from escoita.evaluation.predictions import SCHEMA, Provenance, read_predictions
from escoita.evaluation.request import request_for_run
from escoita.evaluation.shards import Shard, ShardProvenance, merge_all, merge_shards, read_shard, write_shard
from escoita.records.evaluation import EvaluationRecord
from tests.evaluation.samples import system, write_rows


N = 3


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """Write the predictions of one process on ten clips."""
    rows = [(f"bir {row}", f"bir {row}", "ikki") for row in range(10)]
    write_rows(tmp_path / "whole", rows, systems=("adapter", "base"))
    return tmp_path / "whole/clips/predictions.parquet"


def divided(single: Path, out: Path, key: str = "k", of: int = N, **changes: Any) -> list[Path]:
    """Write the same predictions divided among shards."""
    table, made = read_predictions(single)
    made = made.model_copy(update={"system": made.system.model_copy(update=changes)})
    paths = []
    for index in range(1, of + 1):
        places = list(range(index - 1, table.num_rows, of))
        part = ShardProvenance(index=index, of=of, key=key, rows=table.num_rows)
        paths.append(
            write_shard(out, table.take(pa.array(places, pa.int64())).replace_schema_metadata(), places, made, part)
        )
    return paths


def test_merged_shards_equal_one_process(single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escoita.evaluation.shards.WINDOW", 4)
    monkeypatch.setattr("escoita.evaluation.shards.ROWS_AT_ONCE", 2)
    divided(single, tmp_path / "out")
    merged, made = read_predictions(merge_shards(tmp_path / "out", "clips", "adapter"))
    table, before = read_predictions(single)
    assert merged.equals(table)
    assert made == before.model_copy(update={"system": before.system.model_copy(update={"processes": N})})
    assert [path.name for path in (tmp_path / "out/clips").iterdir()] == ["predictions.parquet"]


@given(rows=st.integers(0, 40), of=st.integers(1, 7), window=st.integers(1, 9))
def test_any_division_can_be_merged(rows: int, of: int, window: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("shards")
    (path,) = write_rows(folder / "whole", [(f"bir {row}", "bir") for row in range(rows)], systems=("adapter",))
    divided(path, folder / "out", of=of)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("escoita.evaluation.shards.WINDOW", window)
        merged, _ = read_predictions(merge_shards(folder / "out", "clips", "adapter"))
    assert merged.equals(read_predictions(path)[0])


def test_a_missing_shard_is_reported(single: Path, tmp_path: Path) -> None:
    divided(single, tmp_path)[1].unlink()
    for name, missing in (("adapter", [2]), ("base", [])):
        with pytest.raises(MissingShardError) as refusal:
            merge_shards(tmp_path, "clips", name)
        assert (refusal.value.path, refusal.value.missing) == (tmp_path / "shards", missing)


def test_a_copied_shard_is_reported(single: Path, tmp_path: Path) -> None:
    divided(single, tmp_path)
    shutil.copytree(tmp_path / "shards/2-of-3", tmp_path / "shards/2-of-3 (copy)")
    with pytest.raises(MisplacedPredictionsError) as refusal:
        merge_shards(tmp_path, "clips", "adapter")
    assert refusal.value.path == tmp_path / "shards/2-of-3 (copy)/clips/predictions.parquet"


def test_shards_of_two_divisions_are_refused(single: Path, tmp_path: Path) -> None:
    divided(single, tmp_path)
    divided(single, tmp_path, of=2)
    with pytest.raises(OtherShardError) as refusal:
        merge_shards(tmp_path, "clips", "adapter")
    assert refusal.value.other.parent.parent.name == "1-of-2"


@pytest.mark.parametrize(
    "changes, error, key",
    [({"key": "other"}, OtherShardError, None), ({"base_sha256": "c" * 64}, OtherModelError, "base_sha256")],
)
def test_shards_of_another_evaluation_are_refused(
    changes: dict[str, Any],
    error: type[OtherShardError | OtherModelError],
    key: str | None,
    single: Path,
    tmp_path: Path,
) -> None:
    (_, second, _) = divided(single, tmp_path / "other", **changes)
    divided(single, tmp_path)
    shutil.copy(second, tmp_path / second.relative_to(tmp_path / "other"))
    with pytest.raises(error) as refusal:
        merge_shards(tmp_path, "clips", "adapter")
    assert refusal.value.path == tmp_path / "shards/2-of-3/clips/predictions.parquet"
    assert refusal.value.key == key


@pytest.mark.parametrize(
    "places, error, row",
    [([1, 4, 6], DuplicateClipError, 7), ([1, 4], RecordError, 8), ([1, 4, 7, 99], RecordError, None)],
)
def test_duplicate_missing_and_additional_clips_are_refused(
    places: list[int], error: type[RecordError], row: int | None, single: Path, tmp_path: Path
) -> None:
    table, made = read_predictions(single)
    divided(single, tmp_path)
    part = ShardProvenance(index=2, of=N, key="k", rows=10)
    write_shard(tmp_path, table.slice(0, len(places)).replace_schema_metadata(), places, made, part)
    with pytest.raises(error) as refusal:
        merge_shards(tmp_path, "clips", "adapter")
    assert (type(refusal.value), refusal.value.row) == (error, row)
    assert not list((tmp_path / "clips").iterdir())


def test_other_files_are_refused(single: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no parquet")
    for path in (single, tmp_path / "x"):
        with pytest.raises(RecordError) as refusal:
            read_shard(path)
        assert refusal.value.path == path


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "-1/4", "3/64/2", ""])
def test_other_texts_are_no_shards(text: str) -> None:
    with pytest.raises(EscoitaError) as refusal:
        Shard.parse(text)
    assert (refusal.value.key, refusal.value.value) == ("--shard", text)


@given(of=st.integers(1, 50), batches=st.integers(0, 300))
def test_every_batch_is_in_one_shard(of: int, batches: int) -> None:
    numbers = [number for index in range(1, of + 1) for number in Shard(index, of).numbers(batches)]
    assert sorted(numbers) == list(range(batches)) and str(Shard.parse(f"{of}/{of}")) == f"{of}/{of}"


@pytest.mark.slow
def test_shards_of_a_run_score_as_one_process_does(quickstart_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(quickstart_run, tmp_path / "run")
    overrides = ["eval.resamples=50", "eval.batch_seconds=4"]
    once = evaluate_run(run, overrides)
    before = {path: pq.read_table(path) for path in sorted((run / "eval").glob("*/predictions*.parquet"))}
    shutil.rmtree(run / "eval")
    with pytest.raises(MissingShardError):
        evaluate_run(run, overrides, merge_all)
    for index in (1, 2):
        folder = transcribe_shard(request_for_run(run, overrides), Shard(index, 2))
        assert folder.is_dir() and not list(folder.glob(f"*/{JOURNAL}*"))
    merged = evaluate_run(run, overrides, merge_all)
    for path, table in before.items():
        timed = table.schema.get_field_index("compute_seconds")
        assert pq.read_table(path).remove_column(timed).equals(table.remove_column(timed))
    assert without_timing(merged) == without_timing(once)


def without_timing(record: EvaluationRecord) -> object:
    """Return a record without the fields that depend on time and machine."""
    fields = json.loads(record.to_json())
    for each in fields["systems"]:
        del each["processes"], each["peak_memory_bytes"]
    for corpus in [*fields["corpora"], fields["pooled"]]:
        for each in corpus["systems"]:
            del each["rtfx"], each["tokens_per_second"]
    return fields


MEASURED = """
import sys
from pathlib import Path
from escoita.utils.processes import reset_peak_memory, peak_memory_bytes
from escoita.evaluation.shards import merge_shards
reset_peak_memory()
before = peak_memory_bytes()
merge_shards(Path(sys.argv[1]), "clips", "adapter")
print(peak_memory_bytes() - before)
"""


def big_shards(out: Path, rows: int, of: int) -> None:
    """Write many rows with realistic texts, shard by shard."""
    made = Provenance(corpus="clips", rejected=0, system=system("adapter"))
    for index in range(1, of + 1):
        places = range(index - 1, rows, of)
        count = len(places)
        same = {"language": "uz", "gender": "", "accent": "", "reference": "soat nechchi boʻldi " * 4}
        columns = {name: pa.repeat(text, count) for name, text in same.items()}
        columns |= {"id": pa.array([f"clip-{place:08}" for place in places])}
        columns |= {"speaker": pa.array([f"s{place % 5000:04}" for place in places])}
        columns |= {"hypothesis": columns["reference"], "tokens": pa.repeat(12, count)}
        columns |= {"audio_seconds": pa.repeat(4.5, count), "compute_seconds": pa.repeat(0.1, count)}
        columns |= {"truncated": pa.repeat(False, count)}
        table = pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)
        part = ShardProvenance(index=index, of=of, key="k", rows=rows)
        write_shard(out, table, places, made, part)


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path, record_property: Callable) -> None:
    peaks = {}
    for rows in (1_000_000, 10_000_000):
        out = tmp_path / str(rows)
        big_shards(out, rows, 64)
        done = subprocess.run([sys.executable, "-c", MEASURED, out], capture_output=True, text=True, check=True)
        peaks[rows] = int(done.stdout)
        assert pq.read_metadata(out / "clips/predictions.parquet").num_rows == rows
        shutil.rmtree(out)
    record_property("peak_bytes", peaks)
    print(peaks)
    assert peaks[10_000_000] < 1.5 * peaks[1_000_000] and peaks[10_000_000] < 500e6
