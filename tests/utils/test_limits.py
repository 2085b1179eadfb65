"""Test the limits for untrusted files."""

import json
import os
import re
from pathlib import Path

import pytest

from escoita.errors import RecordError
from escoita.utils import limits
from escoita.utils.limits import (
    LEVELS,
    FileSizeError,
    LfsPointerError,
    is_pointer,
    parse_json,
    read_bounded,
    read_json,
)
from tests.conftest import ROOT


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"


def test_read_bounded_returns_files_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(FileSizeError) as caught:
        read_bounded(path, 4)
    assert (caught.value.path, caught.value.size, caught.value.limit) == (path, 5, 4)


def test_large_sparse_file_is_refused_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    with path.open("wb") as file:
        file.truncate(500_000_000)
    with pytest.raises(FileSizeError) as caught:
        read_bounded(path, 4_000_000)
    assert (caught.value.path, caught.value.size) == (path, 500_000_000)


def test_named_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecordError) as caught:
        read_bounded(tmp_path / "pipe", 10)
    assert caught.value.path == tmp_path / "pipe"
    with pytest.raises(OSError):
        read_bounded(tmp_path / "nothing", 10)


def test_git_lfs_pointer_is_refused_with_hint(tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    path.write_bytes(POINTER)
    with pytest.raises(LfsPointerError) as caught:
        read_json(path)
    assert caught.value.path == path and caught.value.hint
    assert is_pointer(POINTER) and not is_pointer(POINTER + b"x" * 1024) and not is_pointer(b"{}")


def test_valid_json_gives_the_same_values_as_python() -> None:
    document = {"text": "oʻ", "integer": -(10**17), "number": 1.5, "none": None, "list": [True, [], {}]}
    assert parse_json(json.dumps(document).encode()) == document
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]
    assert parse_json(b"1000000000000000019884624838656") == 1000000000000000019884624838656


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"NaN",
        b'{"a": -Infinity}',
        b"[1e999]",
        b"[-1e999]",
        b"1" + b"0" * 100,
        b"-1" + b"0" * 5000,
        b"[" * (LEVELS + 1) + b"]" * (LEVELS + 1),
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    ],
)
def test_invalid_json_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as found:
        parse_json(content)
    assert "\n" not in str(found.value) and len(str(found.value)) < 200
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_json(path)
    assert caught.value.path == path and "\n" not in str(caught.value)


def test_integers_are_limited_in_digits() -> None:
    assert parse_json(b"-" + b"9" * 18, digits=18) == -(10**18 - 1)
    with pytest.raises(ValueError):
        parse_json(b"9" * 19, digits=18)


def test_values_are_counted_before_parsing() -> None:
    assert parse_json(b"[1,2,3]", values=2) == [1, 2, 3]
    with pytest.raises(ValueError, match="3"):  # not the message of the parser
        parse_json(b"[1,2,3,not even JSON", values=2)


def test_maximum_nesting_is_accepted() -> None:
    assert parse_json(b"[" * LEVELS + b"]" * LEVELS)


def test_limits_are_documented() -> None:
    page = (ROOT / "docs/security.md").read_text("utf-8")
    written = dict(re.findall(r"^\| `([A-Z_]+)` \| ([\d,]+) \|", page, re.MULTILINE))
    known = {name: f"{value:,}" for name, value in vars(limits).items() if name.isupper() and name[0] != "_"}
    assert written == {name: value for name, value in known.items() if name not in ("MEBIBYTE", "POINTER_BYTES")}
