"""Files that are either as they were or whole: a kill in the middle of a write must not spoil a run."""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from escoita.errors import WriteError


# Errors of a file system that takes no more, and of one on which this user may not write.
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_WRITE = NO_SPACE | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
# Seconds after which a change of a file shows in its time of change on every file system.
SECONDS_TO_SETTLE = 2.0


def write_atomically(path: Path, content: str | bytes) -> None:
    """
    Writes beside the file and puts it in its place at once; makes the folder where it is missing.

    Raises:
        WriteError: The disk is full or read-only; the old file is as it was.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """
    Open a temporary file that takes the place of `path` once it is written and on the disk; nothing else stays.

    Args:
        path (`Path`): The file that is made or replaced; its folder is made.

    Raises:
        WriteError: The disk is full or read-only; the old file is as it was.
    """
    with clear_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(number, "wb") as file:
                yield file
                file.flush()
                os.fsync(number)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def clear_write_errors(path: Path) -> Iterator[None]:
    """
    Turn the error of a full or read-only disk into one line.

    Args:
        path (`Path`): What is written.

    Raises:
        WriteError: It could not be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_WRITE:
            raise
        raise cannot_write(path, error.strerror or str(error)) from error


def cannot_write(path: Path, reason: str, advice: str = "Run the same command again after that") -> WriteError:
    """The error of a file or folder that cannot be written, with the free space of its disk."""
    free = free_bytes(path)
    return WriteError(
        f"cannot be written ({' '.join(reason.split())[:200]}); {free / 1e6:,.0f} MB are free there",
        path=path,
        hint=f"free disk space or make the folder writable. {advice}",
        free=free,
    )


def free_bytes(path: Path) -> int:
    """Free bytes on the disk of a path, which need not exist."""
    there = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free


def sync_files(folder: Path) -> None:
    """Wait until all files below a folder are on the disk, before the folder is renamed."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def cache_folder() -> Path:
    """`$ESCOITA_CACHE`, else the folder that the system gives to caches."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ESCOITA_CACHE") or Path(home) / "escoita")


def sha256(path: Path) -> str:
    """Digest of a file, without holding it in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """
    Return the digest of a file, computed once and kept in the cache until path, size or time of change differ.

    Args:
        path (`Path`): A large file, such as weights.
    """
    status = path.stat()
    state = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    kept = cache_folder() / "digests" / hashlib.blake2b(state.encode(), digest_size=16).hexdigest()
    with suppress(OSError, UnicodeDecodeError):
        found = kept.read_text("ascii")
        if re.fullmatch("[0-9a-f]{64}", found):
            return found
    digest = sha256(path)
    # A file that was written just now may be written again within the resolution of its time of change.
    if time.time() - status.st_mtime > SECONDS_TO_SETTLE:
        with suppress(WriteError):  # a cache that cannot be written is only slower
            write_atomically(kept, digest)
    return digest


def public_name(source: str) -> str:
    """A folder, file or repository as others may read it: of an absolute path the last part alone."""
    return Path(source).name if Path(source).is_absolute() else source
