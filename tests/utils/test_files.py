import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from escoita.errors import WriteError
from escoita.utils import files
from escoita.utils.files import (
    cached_sha256,
    convert_write_errors,
    free_bytes,
    public_name,
    replacing,
    sha256,
    sync_files,
    write_atomically,
)


def test_write_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "record.json"
    write_atomically(path, "ñ")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two" and [each.name for each in path.parent.iterdir()] == ["record.json"]

    def killed(source: object, target: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "three")
    assert path.read_bytes() == b"two" and [each.name for each in path.parent.iterdir()] == ["record.json"]


def test_file_is_synced_before_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(number: int) -> None:
        done.append(f"sync {os.fstat(number).st_size}")
        sync(number)

    def replaced(*paths: Path) -> None:
        done.append("replace")
        replace(*paths)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr("os.replace", replaced)
    write_atomically(tmp_path / "record.json", "1234567")
    assert done == ["sync 7", "replace"]
    sync_files(tmp_path)
    assert done[2:] == ["sync 7"]


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("call", ["os.fsync", "os.replace", "tempfile.mkstemp"])
def test_write_error_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, "old")
    monkeypatch.setattr(call, failing(number))
    with pytest.raises(WriteError) as refused:
        write_atomically(path, "new")
    assert refused.value.path == path and refused.value.free > 0
    assert "\n" not in str(refused.value)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_replacing_writes_in_several_steps(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with replacing(path) as file:
        file.write(b"one")
        file.write(b"two")
        assert not path.exists()
    assert path.read_bytes() == b"onetwo"
    with pytest.raises(KeyError), replacing(path) as file:
        file.write(b"three")
        raise KeyError
    assert path.read_bytes() == b"onetwo" and list(tmp_path.iterdir()) == [path]


def test_other_os_errors_are_not_converted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), convert_write_errors(tmp_path):
        (tmp_path / "gone").read_bytes()


def test_free_bytes_of_a_missing_path(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not/yet") > 0


def test_read_only_folder_raises_a_write_error(read_only: Path) -> None:
    for path in (read_only / "record.json", read_only / "new/record.json"):
        with pytest.raises(WriteError) as refused:
            write_atomically(path, "new")
        assert refused.value.path == path


@pytest.mark.parametrize(
    "source, shown",
    [("./quickstart/gemma4", "./quickstart/gemma4"), ("google/gemma", "google/gemma"), ("/srv/models/gemma", "gemma")],
)
def test_public_name_omits_absolute_folders(source: str, shown: str) -> None:
    assert public_name(source) == shown


def test_digest_is_cached_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    monkeypatch.setenv("ESCOITA_CACHE", str(tmp_path / "cache"))

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256(path)

    monkeypatch.setattr(files, "sha256", counted)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"one")
    assert cached_sha256(path) == cached_sha256(path) == sha256(path)
    assert len(hashed) == 2  # it is too new for the cache
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert cached_sha256(path) == cached_sha256(path) == sha256(path) and len(hashed) == 3
    path.write_bytes(b"two")
    os.utime(path, (1_000_000_001, 1_000_000_001))
    assert cached_sha256(path) == sha256(path) and len(hashed) == 4
    for cached in (tmp_path / "cache/digests").iterdir():
        cached.write_bytes(b"\xff damaged")
    assert cached_sha256(path) == sha256(path)


def test_digest_works_with_a_read_only_cache(read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESCOITA_CACHE", str(read_only / "cache"))
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"one")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert cached_sha256(path) == sha256(path)
