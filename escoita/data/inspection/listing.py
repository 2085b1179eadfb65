"""List the files of a folder within limits, and find the recordings that tables and annotations name."""

import os
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from escoita.data.readers.recordings import AUDIO_SUFFIXES
from escoita.errors import CorpusError
from escoita.utils.formatting import is_unicode


# Files and folders.
MOST_FILES = 1_000_000
# Of more recordings with one name, none is chosen by its folders: it would take too long.
_MOST_ALIKE, _DEEPEST = 1_000, 10
# File systems take paths of at most this many bytes.
_LONGEST_PATH = 4096
RECORDINGS = (*AUDIO_SUFFIXES, ".mp4", ".mov", ".3gp", ".caf", ".aac", ".aiff", ".aif", ".wma", ".amr", ".oga")


class Listing:
    """
    Store the files below a folder, without hidden ones, links that lead out of it, and names that are not Unicode.

    Args:
        root (`Path`): The folder, or a file: then those in its folder are listed.

    Raises:
        CorpusError: The folder cannot be read, or contains too many files.
    """

    def __init__(self, root: Path):
        self.root = root if root.is_dir() else root.parent
        self.recordings: list[Path] = []
        self.by_suffix: dict[str, list[Path]] = {}
        self.outside = self.unnamed = 0
        self._folders: dict[Path, str] = {}
        self._exact: dict[str, list[Path]] = {}
        self._others: set[Path] = set()
        self._by_path: dict[str, list[Path]] = {}
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        if not is_unicode(str(self.root)):
            raise CorpusError("the name of the folder is not valid Unicode", path=self.root, hint="rename it")
        inside = os.path.realpath(self.root)
        for entry in _entries(self.root):
            path = Path(entry.path)
            if not is_unicode(entry.name):
                self.unnamed += 1
            elif entry.is_symlink() and (path.is_dir() or not Path(os.path.realpath(path)).is_relative_to(inside)):
                self.outside += 1
            elif path.is_file():
                self._add(path)

    def _add(self, path: Path) -> None:
        suffix = path.suffix.lower()
        if suffix not in RECORDINGS:
            self.by_suffix.setdefault(suffix, []).append(path)
            self._others.add(path)
            return
        self.recordings.append(path)
        name = path.relative_to(self.root).as_posix()
        self._exact.setdefault(_composed(name), []).append(path)
        self._by_path.setdefault(_plain(name), []).append(path)
        self._by_name.setdefault(_plain(path.name), []).append(path)
        self._by_stem.setdefault(_plain(path.stem), []).append(path)

    def files(self, *suffixes: str) -> list[Path]:
        """Return the files with these suffixes, lower case, in the order of their paths."""
        return sorted(path for suffix in suffixes for path in self.by_suffix.get(suffix, ()))

    def contains(self, path: Path) -> bool:
        """Return whether a file, other than a recording, is listed."""
        return path in self._others

    def find(self, name: str, folder: Path | None = None) -> Path | None:
        """
        Return the recording that a table or an annotation names, or `None`. It is always one of the listed files.

        A path may be relative to the file that names it or to the root, or be one of another machine, of which the
        last parts count; it may have backslashes, another case, another suffix or none. Of names that differ only in
        case, or in the normalization form of Unicode, each is found by itself alone.

        Args:
            name (`str`): The name or path.
            folder (`Path`, *optional*): The folder of the file that names it.
        """
        if not name or len(name) > _LONGEST_PATH:
            return None
        parts = name.strip().removeprefix("file://").replace("\\", "/").split("/")
        parts = [part for part in parts if part not in ("", ".")]
        if ".." in parts:
            parts = parts[len(parts) - parts[::-1].index("..") :]
        if not parts:
            return None
        above = "" if folder is None else self._above(folder)
        paths = ["/".join([start, *parts] if start not in ("", ".") else parts) for start in (above, "")]
        for path in paths:
            if same := self._exact.get(_composed(path)):
                return self._of_form(same, path)
        for path in map(_plain, paths):
            if len(found := self._by_path.get(path, [])) == 1:
                return found[0]
        parts = list(map(_plain, parts))
        stem = parts[-1].rpartition(".")[0] if parts[-1].endswith(RECORDINGS) else parts[-1]
        alike = self._by_stem.get(stem, [])
        near = [path for path in alike[:_MOST_ALIKE] if path.parent == folder]
        for candidates in (self._by_name.get(parts[-1], []), near, alike):
            if best := self._best(candidates, parts[:-1]):
                return best
        return None

    def _above(self, folder: Path) -> str:
        """Return the path of a folder below the root."""
        if folder not in self._folders:
            self._folders[folder] = folder.relative_to(self.root).as_posix()
        return self._folders[folder]

    def _of_form(self, same: list[Path], name: str) -> Path | None:
        """Return the recording of a path among those whose paths are the same text in another form of Unicode."""
        if len(same) == 1:
            return same[0]
        return next((path for path in same if path.relative_to(self.root).as_posix() == name), None)

    def _best(self, candidates: list[Path], parents: list[str]) -> Path | None:
        """Return the only candidate, or the only one in the deepest folders that the name states."""
        if len(candidates) > _MOST_ALIKE:
            return None
        for depth in range(min(len(parents), _DEEPEST), -1, -1):
            ending = parents[len(parents) - depth :]
            matching = [
                path
                for path in candidates
                if not ending or [_plain(part) for part in path.parent.parts[-depth:]] == ending
            ]
            if len(matching) == 1:
                return matching[0]
        return None


def _entries(root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield files and links below a folder, without hidden ones, at any depth, in the order of their names."""
    folders, count = [str(root)], 0
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                found = list(islice(entries, MOST_FILES - count + 1))
        except OSError as error:
            raise CorpusError(f"cannot be read ({error.strerror})", path=folder) from error
        count += len(found)
        if count > MOST_FILES:
            hint = "give a folder with the recordings of one corpus"
            raise CorpusError(f"contains more than {MOST_FILES:,} files and folders", path=root, hint=hint)
        shown = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
        folders += [
            entry.path for entry in reversed(shown) if is_unicode(entry.name) and entry.is_dir(follow_symlinks=False)
        ]
        yield from (entry for entry in shown if not entry.is_dir(follow_symlinks=False))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _plain(name: str) -> str:
    return _composed(name).casefold()
