import resource
from pathlib import Path

import pytest

from escoita.errors import WriteError
from escoita.evaluation.predict import append_batches, read_journals
from escoita.records.transcript import Segment, Transcript


def heard(text: str) -> list[Transcript]:
    return [Transcript(text, 2.0, 0.1, 3, False, (Segment(0.0, 2.0, text),)), Transcript("", 1.0, 0.1)]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    append_batches(tmp_path / "0.jsonl", "k", [(0, heard("toʻrt\n\u2028")), (2, heard("b"))])
    append_batches(tmp_path / "1.jsonl", "k", [(1, heard("c"))])
    assert read_journals(tmp_path, "k") == {0: heard("toʻrt\n\u2028"), 2: heard("b"), 1: heard("c")}


def test_a_process_goes_on_behind_what_it_wrote(tmp_path: Path) -> None:
    append_batches(tmp_path / "0.jsonl", "k", [(0, heard("a"))])
    append_batches(tmp_path / "0.jsonl", "k", [(1, heard("b"))])
    assert read_journals(tmp_path, "k") == {0: heard("a"), 1: heard("b")}


@pytest.mark.parametrize("left", [1, 10, 60])
def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path, left: int) -> None:
    path = tmp_path / "0.jsonl"
    append_batches(path, "k", [(0, heard("a")), (1, heard("b"))])
    last = path.read_bytes().splitlines(keepends=True)[-1]
    path.write_bytes(path.read_bytes()[: -len(last) + left])
    assert read_journals(tmp_path, "k") == {0: heard("a")}
    append_batches(path, "k", [(1, heard("c"))])
    assert read_journals(tmp_path, "k") == {0: heard("a"), 1: heard("c")}


@pytest.mark.parametrize("spoilt", [b"\0" * 40, b'{"batch": 1, "hea\0\0', b"\xff\xfe"])
def test_a_line_that_was_not_on_the_disk_when_power_failed_is_left_out(tmp_path: Path, spoilt: bytes) -> None:
    path = tmp_path / "0.jsonl"
    append_batches(path, "k", [(0, heard("a"))])
    path.write_bytes(path.read_bytes() + spoilt + b"\n")
    assert read_journals(tmp_path, "k") == {0: heard("a")}


def test_a_full_disk_is_one_line_and_leaves_what_was_heard(tmp_path: Path) -> None:
    path = tmp_path / "0.jsonl"
    append_batches(path, "k", [(0, heard("a"))])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
        with pytest.raises(WriteError) as refused:
            append_batches(path, "k", [(1, heard("b"))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.value.path == path and read_journals(tmp_path, "k") == {0: heard("a")}
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_heard_under_other_conditions_is_not_believed(tmp_path: Path) -> None:
    append_batches(tmp_path / "0.jsonl", "before", [(0, heard("a"))])
    assert read_journals(tmp_path, "now") == {}
    append_batches(tmp_path / "0.jsonl", "now", [(1, heard("b"))])
    assert read_journals(tmp_path, "now") == {1: heard("b")}


def test_a_failure_leaves_what_was_heard_before_it(tmp_path: Path) -> None:
    def batches():
        yield 0, heard("a")
        raise MemoryError

    with pytest.raises(MemoryError):
        append_batches(tmp_path / "0.jsonl", "k", batches())
    assert read_journals(tmp_path, "k") == {0: heard("a")}
    assert read_journals(tmp_path / "nothing", "k") == {}
