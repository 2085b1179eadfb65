"""Test that Parquet files that kill a reading process only kill a child process."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi

from escoita.cards.fetch import fetched
from escoita.cards.parquet_probe import require_readable
from escoita.errors import PublishError
from tests.evaluation.samples import write_rows


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "eval", [("chiroqni yoq", "chiroq yoq")], systems=["adapter"])[0]


def unknown_compression(path: Path) -> Path:
    """Return a file with an unknown compression, on which Arrow aborts."""
    table = pa.table({"a": [1]})
    pq.write_table(table, path, compression="snappy")
    snappy, gzip = path.read_bytes(), path.with_suffix(".gz")
    pq.write_table(table, gzip, compression="brotli")
    other = gzip.read_bytes()
    gzip.unlink()
    # The compression is the byte of the metadata in which both files differ; its value is twice the number of a codec.
    places = [
        place for place in range(1, min(len(snappy), len(other))) if (snappy[-place], other[-place]) == (2 * 1, 2 * 4)
    ]
    content = bytearray(snappy)
    content[-places[-1]] = 2 * 60
    path.write_bytes(content)
    return path


def test_file_that_is_refused_in_one_line_kills_no_process(good: Path, tmp_path: Path) -> None:
    (tmp_path / "refused.parquet").write_bytes(b"nothing")
    require_readable("user/name", tmp_path)


def test_a_folder_with_such_a_file_is_refused_in_one_line(good: Path, tmp_path: Path) -> None:
    unknown_compression(good.parent / "counts.parquet")
    with pytest.raises(PublishError) as refusal:
        fetched(HfApi(), str(tmp_path))
    assert (refusal.value.path, refusal.value.value) == (str(tmp_path), "eval/clips/counts.parquet")
