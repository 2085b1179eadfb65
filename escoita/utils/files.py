"""Write files atomically, hash them, and report a full or read-only disk."""

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
from escoita.utils.locations import name_as_written


# Error numbers of a full file system, and of one that this user cannot write to.
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_WRITE = NO_SPACE | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
# Resolution of modification times in seconds, the coarsest of all file systems.
MODIFICATION_TIME_RESOLUTION = 2.0


def write_atomically(path: Path, content: str | bytes) -> None:
    """
    Write a file in one step, so that a killed process leaves either the old or the new content.

    Args:
        path (`Path`): The file. Its folder is created.
        content (`str` or `bytes`): The new content; text is encoded as UTF-8.

    Raises:
        WriteError: The disk is full or read-only. The old file is unchanged.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """
    Open a temporary file that replaces `path` after it is written and synced to disk.

    Args:
        path (`Path`): The file that is created or replaced. Its folder is created.

    Raises:
        WriteError: The disk is full or read-only. The old file is unchanged.
    """
    with convert_write_errors(path):
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
def convert_write_errors(path: Path) -> Iterator[None]:
    """
    Convert the `OSError` of a full or read-only disk into a [`~escoita.errors.WriteError`].

    Args:
        path (`Path`): The file or folder that is written.

    Raises:
        WriteError: The file or folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_WRITE:
            raise
        raise cannot_write(path, error.strerror or str(error)) from error


def cannot_write(path: Path, reason: str, advice: str = "Run the same command again after that") -> WriteError:
    """
    Return the error for a file or folder that cannot be written.

    Args:
        path (`Path`): The file or folder.
        reason (`str`): The message of the system.
        advice (`str`, *optional*): The second part of the hint.
    """
    free = free_bytes(path)
    return WriteError(
        f"cannot be written ({' '.join(reason.split())[:200]}); {free / 1e6:,.0f} MB are free there",
        path=path,
        hint=f"free disk space or make the folder writable. {advice}",
        free=free,
    )


def free_bytes(path: Path) -> int:
    """Return the number of free bytes on the disk of a path, which need not exist."""
    existing = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free


def sync_files(folder: Path) -> None:
    """Sync all files in a folder to disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def cache_folder() -> Path:
    """Return `$ESCOITA_CACHE`, or `escoita` in the cache folder of the system."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ESCOITA_CACHE") or Path(home) / "escoita")


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file, which is read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_sha256(path: Path) -> str:
    """
    Return the SHA-256 digest of a file from the cache, which is used until path, size or modification time differ.

    Args:
        path (`Path`): A large file, such as weights.
    """
    status = path.stat()
    state = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    cached = cache_folder() / "digests" / hashlib.blake2b(state.encode(), digest_size=16).hexdigest()
    with suppress(OSError, UnicodeDecodeError):
        found = cached.read_text("ascii")
        if re.fullmatch("[0-9a-f]{64}", found):
            return found
    digest = sha256(path)
    # A file that has just been written may change again without a new modification time.
    if time.time() - status.st_mtime > MODIFICATION_TIME_RESOLUTION:
        with suppress(WriteError):
            write_atomically(cached, digest)
    return digest


def public_name(source: str) -> str:
    """
    Return the name of a file or repository for records: as written if a recipe names it, else the last part of an
    absolute path, and any other path or repository unchanged.
    """
    written = name_as_written(source)
    return Path(written).name if Path(written).is_absolute() else written
