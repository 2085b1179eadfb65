"""What is made of a file once and kept in the cache until the file changes."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from escoita.errors import CorpusError
from escoita.utils.files import cache_folder, free_bytes


def kept(source: Path, kind: str, make: Callable[[Path, Path], None], part: str = "") -> Path:
    """
    A file or folder that is made of another, once.

    It stands in the folder `kind` of the cache (`$ESCOITA_CACHE`, see [`~escoita.utils.files.cache_folder`]), named
    by path, size and time of change of the source, and takes its place there only when it is whole. It is never
    removed: the folder may be deleted at any time, and is made again.

    Args:
        source (`Path`): The file.
        kind (`str`): What is made, `archives` or `recordings`.
        make (`Callable[[Path, Path], None]`): Makes of the first path what shall stand under the second.
        part (`str`, *optional*, defaults to `""`): Of the source, where only a part of it is taken.

    Raises:
        CorpusError: It cannot be made; names the file and says why.
    """
    try:
        status = source.stat()
        state = f"{source.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0{part}"
        target = cache_folder() / kind / hashlib.blake2b(state.encode(), digest_size=16).hexdigest()
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        # Of several processes one makes it, and the others wait.
        with FileLock(f"{target}.lock"):
            if not target.exists():
                partial = target.with_name(f"{target.name}.partial")
                _remove(partial)  # of a process that was killed
                try:
                    make(source, partial)
                    os.replace(partial, target)
                except BaseException:
                    _remove(partial)
                    raise
    except OSError as error:
        if error.errno is None:  # a decoder says so, not the system
            raise CorpusError(f"{source}: is damaged ({error}); fetch it again") from error
        free = f"{free_bytes(cache_folder()) / 1e6:,.0f} MB are free there"
        where = f"into {cache_folder()} ({error.strerror}); {free}. ESCOITA_CACHE names another folder"
        raise CorpusError(f"{source}: cannot be unpacked {where}") from error
    return target


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
