"""Files of somebody else are refused in one line before they cost memory or time."""

import json
import os
import re
from pathlib import Path

import pytest

from escoita.errors import RecordError
from escoita.utils import limits
from escoita.utils.limits import LEVELS, is_pointer, parse_json, read_bounded, read_json
from tests.conftest import ROOT


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(RecordError, match="5 bytes; at most 4 are read"):
        read_bounded(path, 4)


def test_a_sparse_file_of_500_mb_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    with path.open("wb") as file:
        file.truncate(500_000_000)
    with pytest.raises(RecordError, match="500,000,000 bytes"):
        read_bounded(path, 4_000_000)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecordError, match="not a regular file"):
        read_bounded(tmp_path / "pipe", 10)
    with pytest.raises(OSError):
        read_bounded(tmp_path / "nothing", 10)


def test_a_pointer_of_git_lfs_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    path.write_bytes(POINTER)
    with pytest.raises(RecordError, match="install git-lfs .* `hf download`"):
        read_json(path)
    assert is_pointer(POINTER) and not is_pointer(POINTER + b"x" * 1024) and not is_pointer(b"{}")


def test_json_is_parsed_as_python_does() -> None:
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
def test_what_cannot_be_used_is_one_line(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as found:
        parse_json(content)
    assert "\n" not in str(found.value) and len(str(found.value)) < 200
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="data.json: not JSON that can be used"):
        read_json(path)


def test_integers_of_records_fit_in_64_bits() -> None:
    assert parse_json(b"-" + b"9" * 18, digits=18) == -(10**18 - 1)
    with pytest.raises(ValueError, match="an integer of 19 digits"):
        parse_json(b"9" * 19, digits=18)


def test_the_values_are_counted_before_they_are_parsed() -> None:
    assert parse_json(b"[1,2,3]", values=2) == [1, 2, 3]
    with pytest.raises(ValueError, match="3 commas"):
        parse_json(b"[1,2,3,not even JSON", values=2)


def test_a_hundred_levels_are_allowed() -> None:
    assert parse_json(b"[" * LEVELS + b"]" * LEVELS)


def test_the_limits_are_documented() -> None:
    page = (ROOT / "docs/security.md").read_text("utf-8")
    written = dict(re.findall(r"^\| `([A-Z_]+)` \| ([\d,]+) \|", page, re.MULTILINE))
    known = {name: f"{value:,}" for name, value in vars(limits).items() if name.isupper() and name[0] != "_"}
    assert written == {name: value for name, value in known.items() if name not in ("MEBIBYTE", "POINTER_BYTES")}
