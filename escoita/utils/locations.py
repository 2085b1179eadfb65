"""Find the files that a recipe, a run directory or an adapter names, from any current folder."""

import glob
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any


# The absolute paths of the files that were found outside of the current folder, with their names as written.
_written: dict[str, str] = {}


def locate(name: str, near: Path) -> tuple[str, Path | None]:
    """
    Find a file or folder by its name, which may be a pattern: relative to the current folder, or else to a folder or
    the nearest of its ancestors that has such a file.

    Only a relative name without `..` is searched for. The root folder, the home folder and the folders above it, and
    folders to which every user may write, are not searched, because a run directory may have been downloaded.

    Args:
        name (`str`): The name as written in a file of the folder; it may also be that of a repository.
        near (`Path`): The folder.

    Returns:
        `tuple[str, Path | None]`: The name if it exists here or is found nowhere, and `None`; or the absolute path,
        and the folder that the name is relative to. [`name_as_written`] returns the name for the path.
    """
    path = Path(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or _exists(path):
        return name, None
    for folder in _searched(near):
        found = folder / path
        if _exists(found):
            _written[str(found)] = name
            return str(found), folder
    return name, None


def _exists(path: Path) -> bool:
    return path.exists() or (glob.has_magic(str(path)) and any(glob.iglob(str(path), recursive=True)))


def _searched(near: Path) -> Iterator[Path]:
    folder, home = Path(os.path.abspath(near)), Path.home()
    for each in (folder, *folder.parents):
        if each == Path(each.anchor) or home.is_relative_to(each):
            return
        if each.is_dir() and not each.stat().st_mode & stat.S_IWOTH:
            yield each


def name_as_written(path: str) -> str:
    """Return the name of a path that [`locate`] found, or of a file below it, as written; any other path unchanged."""
    if path in _written:
        return _written[path]
    if _written and os.path.isabs(path):
        for parent in Path(path).parents:
            if (name := _written.get(str(parent))) is not None:
                return os.path.join(name, Path(path).relative_to(parent))
    return path


def as_written(tree: Any) -> Any:
    """Return nested mappings and lists in which each path that [`locate`] found is replaced by its name as written."""
    if isinstance(tree, dict):
        return {key: as_written(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [as_written(value) for value in tree]
    return name_as_written(tree) if isinstance(tree, str) else tree
