"""
Check the names and sizes of the files of a repository or folder before anything is downloaded or read.

A repository may have names that a file system cannot represent, such as two names that differ only in case, and a
folder may have links to files that were never published. Both are refused.
"""

import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from escoita.errors import PublishError
from escoita.hub.secrets import PICKLES
from escoita.utils.formatting import is_hidden, visible
from escoita.utils.limits import (
    FILES,
    JSON_BYTES,
    NAME_CHARACTERS,
    PARQUET_BYTES,
    PLOT_BYTES,
    POINTER_BYTES,
    README_BYTES,
    REPOSITORY_BYTES,
    SUMS_BYTES,
    WEIGHTS_BYTES,
    YAML_CHARACTERS,
    is_pointer,
    pointer_message,
)


# Files of clients in a folder; they are not part of the repository.
OF_CLIENTS = (".cache/huggingface", ".git")
OF_CLIENT_FILES = re.compile(
    r"\.cache/huggingface/(.*\.(metadata|lock|incomplete)|\.gitignore|CACHEDIR\.TAG)|\.git(/.*)?"
)
_OF_NAMES = {
    "README.md": README_BYTES,
    "SHA256SUMS": SUMS_BYTES,
    **dict.fromkeys(("training.json", "data.json", "eval/results.json"), JSON_BYTES),
    **dict.fromkeys(("escoita.json", "adapter_config.json"), JSON_BYTES),
}
_OF_SUFFIXES = {
    ".yaml": 4 * YAML_CHARACTERS,  # in UTF-8
    ".yml": 4 * YAML_CHARACTERS,
    ".parquet": PARQUET_BYTES,
    ".svg": PLOT_BYTES,
}
# Characters of a name in a message.
_SHOWN = 100


class UnsafeNameError(PublishError):
    """Report a name of a file that not every file system can represent, or that leads out of the folder."""


class SizeLimitError(PublishError):
    """
    Report more or larger files than escoita reads.

    Args:
        size (`int`, *optional*): The size in bytes.
        limit (`int`, *optional*): The largest accepted size in bytes.
    """

    problem = "{size:,} bytes; at most {limit:,} are accepted"
    size: int
    limit: int


class FileKindError(PublishError):
    """Report a file that is not a readable regular file."""


def require_plain(source: str, sizes: Mapping[str, int]) -> None:
    """
    Refuse a repository that is too large, or has unsafe names.

    Args:
        source (`str`): Name of the repository or folder, for errors.
        sizes (`Mapping[str, int]`): Size of each file in bytes, by its path in the repository.

    Raises:
        UnsafeNameError: A name is unsafe.
        SizeLimitError: There are too many files or bytes.
    """
    _require_few(source, len(sizes))
    taken: dict[str, str] = {}
    for name in sizes:
        if why := _not_plain(name):
            raise UnsafeNameError(why, path=source, value=_shortened(name))
        # Folders too: eval/x and Eval/x are in one folder on a file system that ignores case.
        for each in [name, *map(str, PurePosixPath(name).parents)]:
            if (other := taken.setdefault(_folded(each), each)) != each:
                raise UnsafeNameError(
                    "the names differ only in case or in the encoding of their letters",
                    path=source,
                    value=f"{_shortened(other)} and {_shortened(each)}",
                )
    for name, size in sizes.items():
        if size > (limit := _limit_of(name)):
            raise SizeLimitError(path=source, value=_shortened(name), size=size, limit=limit)
    for kind, limit, total in (
        ("weights", WEIGHTS_BYTES, sum(size for name, size in sizes.items() if _is_weights(name))),
        ("all files except weights", REPOSITORY_BYTES, sum(s for name, s in sizes.items() if not _is_weights(name))),
    ):
        if total > limit:
            raise SizeLimitError(path=source, value=kind, size=total, limit=limit)


def require_plain_folder(source: str, folder: Path) -> None:
    """
    Refuse a folder with anything except regular files within the limits.

    Args:
        source (`str`): Name of the repository or folder, for errors.
        folder (`Path`): Folder with the files of a repository. Links within the cache of huggingface_hub count as
            files.

    Raises:
        PublishError: A file is not a regular file, or cannot be read.
        UnsafeNameError: See [`require_plain`].
        SizeLimitError: See [`require_plain`].
    """
    sizes: dict[str, int] = {}
    pointers: list[str] = []
    for name, path in _walked(folder):
        _require_few(source, len(sizes) + 1)
        if path.is_symlink() and not _is_cached(folder, path):
            raise FileKindError("symbolic links are not accepted", path=source, value=_shortened(name))
        try:
            status = path.stat()
        except OSError as error:
            raise FileKindError(f"cannot be read ({error.strerror})", path=source, value=_shortened(name)) from error
        if not stat.S_ISREG(status.st_mode):
            raise FileKindError("not a regular file", path=source, value=_shortened(name))
        sizes[name] = status.st_size
        if status.st_size < POINTER_BYTES and is_pointer(path.read_bytes()):
            pointers.append(name)
    require_plain(source, sizes)
    if pointers:
        more = f" (and {len(pointers) - 1} more files)" if len(pointers) > 1 else ""
        raise FileKindError(pointer_message(_shortened(pointers[0]) + more), path=source)


def published_files(folder: Path) -> dict[str, Path]:
    """Return all files by their names in the repository, without files of clients."""
    return {name: path for name, path in sorted(_walked(folder)) if path.is_file()}


def _walked(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield everything except folders, and links to folders; sorted in each folder, without files of clients."""
    for parent, folders, files in os.walk(folder):
        directory = Path(parent)
        names = {
            path: path.relative_to(folder).as_posix() for path in map(directory.joinpath, sorted(folders + files))
        }
        folders[:] = sorted(each for each in folders if names[directory / each] != ".git")
        followed = set(map(directory.joinpath, folders))
        for path, name in names.items():
            if not OF_CLIENT_FILES.fullmatch(name) and (path not in followed or path.is_symlink()):
                yield name, path


def _require_few(source: str, files: int) -> None:
    if files > FILES:
        raise SizeLimitError(f"more than {FILES:,} files; escoita publishes fewer than 100", path=source)


def _not_plain(name: str) -> str:
    """Return the problem of a name; empty for a safe one."""
    windows = PureWindowsPath(name)
    if name.startswith("/") or windows.anchor:
        return "absolute path"
    if not name or any(part in ("", ".", "..") for part in [*name.split("/"), *windows.parts]):
        return "empty part, . or .. in the name"
    if any(map(is_hidden, name)):
        return "control character in the name"
    if name.startswith(tuple(f"{each}/" for each in OF_CLIENTS)):
        return "reserved for clients of the Hub"
    return "name too long" if len(name) > NAME_CHARACTERS else ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _limit_of(name: str) -> int:
    return _OF_NAMES.get(name) or _OF_SUFFIXES.get(PurePosixPath(name).suffix.lower(), WEIGHTS_BYTES)


def _is_weights(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in {".safetensors", *PICKLES}


def _is_cached(folder: Path, path: Path) -> bool:
    """
    Return whether a link belongs to the cache of huggingface_hub: from `REPOSITORY/snapshots/COMMIT/NAME` to a file of
    `REPOSITORY/blobs`, or of the `blobs` that all repositories share.
    """
    snapshot, file = Path(os.path.realpath(folder)), Path(os.path.realpath(path))  # a link to itself stays a link
    if snapshot.parent.name != "snapshots":
        return False
    repository = snapshot.parent.parent
    return any(file.is_relative_to(each / "blobs") for each in (repository, repository.parent))


def _shortened(name: str) -> str:
    return visible(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")
