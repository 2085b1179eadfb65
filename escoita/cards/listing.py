"""
The names and sizes of the files of a repository or a folder: what is looked at before anything is downloaded or read.

A repository may hold what no file system of a reader can take as it is meant, such as two names that differ only in
case, and a folder may hold links to files that were never published. Such a repository is refused in one line.
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


# What clients keep in a folder; no part of what was published.
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
# Of a name in a message.
_SHOWN = 100


def require_plain(source: str, sizes: Mapping[str, int]) -> None:
    """
    Refuses a repository that is too large, or has names that are not plain.

    Args:
        source (`str`): What it is called, for errors.
        sizes (`Mapping[str, int]`): Bytes of each file, by its path in the repository.

    Raises:
        PublishError: Says in one line what is wrong; nothing should be downloaded.
    """
    _require_few(source, len(sizes))
    taken: dict[str, str] = {}
    for name in sizes:
        if why := _not_plain(name):
            raise PublishError(f"{source}: {_shown(name)}: {why}")
        # Folders too: eval/x and Eval/x come to be in one folder where case makes no difference.
        for each in [name, *map(str, PurePosixPath(name).parents)]:
            if (other := taken.setdefault(_folded(each), each)) != each:
                raise PublishError(
                    f"{source}: {_shown(other)} and {_shown(each)}: names that differ only in case or in how their"
                    " letters are encoded; not every file system can hold both"
                )
    for name, size in sizes.items():
        if size > (limit := _limit_of(name)):
            raise PublishError(f"{source}: {_shown(name)}: {size:,} bytes; at most {limit:,} are read")
    for what, limit, total in (
        ("weights", WEIGHTS_BYTES, sum(size for name, size in sizes.items() if _is_weights(name))),
        ("files without its weights", REPOSITORY_BYTES, sum(s for name, s in sizes.items() if not _is_weights(name))),
    ):
        if total > limit:
            raise PublishError(f"{source}: its {what} have {total:,} bytes; at most {limit:,} are read")


def require_plain_folder(source: str, folder: Path) -> None:
    """
    Refuses a folder that holds anything but regular files within the limits.

    Args:
        source (`str`): What it is called, for errors.
        folder (`Path`): Holds what a repository does. Links of huggingface_hub's cache to its own files are files.

    Raises:
        PublishError: Says in one line what is wrong.
    """
    sizes: dict[str, int] = {}
    pointers: list[str] = []
    for name, path in _walked(folder):
        _require_few(source, len(sizes) + 1)
        if path.is_symlink() and not _is_cached(folder, path):
            raise PublishError(f"{source}: {_shown(name)}: a symbolic link; a repository holds files")
        try:
            status = path.stat()
        except OSError as error:
            raise PublishError(f"{source}: {_shown(name)}: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise PublishError(f"{source}: {_shown(name)}: not a regular file")
        sizes[name] = status.st_size
        if status.st_size < POINTER_BYTES and is_pointer(path.read_bytes()):
            pointers.append(name)
    require_plain(source, sizes)
    if pointers:
        more = f" (and {len(pointers) - 1} more files)" if len(pointers) > 1 else ""
        raise PublishError(f"{source}: {pointer_message(_shown(pointers[0]) + more)}")


def published_files(folder: Path) -> dict[str, Path]:
    """All files by their names in the repository; what clients keep beside them is no part of it."""
    return {name: path for name, path in sorted(_walked(folder)) if path.is_file()}


def _walked(folder: Path) -> Iterator[tuple[str, Path]]:
    """Whatever is not a folder, and links to folders; sorted within each folder, and without what clients keep."""
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        names = {path: path.relative_to(folder).as_posix() for path in map(here.joinpath, sorted(folders + files))}
        folders[:] = sorted(each for each in folders if names[here / each] != ".git")
        followed = set(map(here.joinpath, folders))
        for path, name in names.items():
            if not OF_CLIENT_FILES.fullmatch(name) and (path not in followed or path.is_symlink()):
                yield name, path


def _require_few(source: str, files: int) -> None:
    if files > FILES:
        raise PublishError(f"{source}: holds more than {FILES:,} files; escoita publishes fewer than 100")


def _not_plain(name: str) -> str:
    """What is wrong with a name; nothing where it is plain."""
    windows = PureWindowsPath(name)
    if name.startswith("/") or windows.anchor:
        return "an absolute name"
    if not name or any(part in ("", ".", "..") for part in [*name.split("/"), *windows.parts]):
        return "a name with empty parts, . or .. in it"
    if any(map(is_hidden, name)):
        return "control characters in its name"
    if name.startswith(tuple(f"{each}/" for each in OF_CLIENTS)):
        return "a place that is the client's own"
    return "a name that is too long" if len(name) > NAME_CHARACTERS else ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _limit_of(name: str) -> int:
    return _OF_NAMES.get(name) or _OF_SUFFIXES.get(PurePosixPath(name).suffix.lower(), WEIGHTS_BYTES)


def _is_weights(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in {".safetensors", *PICKLES}


def _is_cached(folder: Path, path: Path) -> bool:
    """
    Whether a link is one of the cache of huggingface_hub: of `REPOSITORY/snapshots/COMMIT/NAME` to a file of
    `REPOSITORY/blobs`, or of the `blobs` that all repositories share.
    """
    snapshot, file = Path(os.path.realpath(folder)), Path(os.path.realpath(path))  # a link to itself stays one
    if snapshot.parent.name != "snapshots":
        return False
    repository = snapshot.parent.parent
    return any(file.is_relative_to(each / "blobs") for each in (repository, repository.parent))


def _shown(name: str) -> str:
    return visible(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")
