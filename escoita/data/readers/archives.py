"""Recordings in a tar archive, unpacked once; and recordings found by their names."""

import gzip
import lzma
import os
import shutil
import tarfile
import zlib
from pathlib import Path

from escoita.data.kept import kept
from escoita.errors import CorpusError


AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".webm")
# Recordings hardly pack: what grows by more than this, and to more bytes than that, was made to fill the disk.
MOST_GROWTH = 100
ALWAYS_BYTES = 256 << 20
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)


def unpacked(archive: Path) -> Path:
    """
    The folder into which the recordings of a tar archive are unpacked, in the folder `archives` of the cache.

    Only regular files that are recordings by their suffix are made; what else there is, links too, is left out.

    Args:
        archive (`Path`): Compressed or not.

    Raises:
        CorpusError: It cannot be read whole, a name in it leads out of the folder, or it unpacks to far more than it
            is.
    """
    return kept(archive, "archives", _unpack)


def recordings_below(folder: Path) -> dict[str, Path]:
    """The recordings in a folder and its subfolders by their names; of several of one name the first found."""
    found: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(AUDIO_SUFFIXES):
                found.setdefault(name, Path(parent, name))
    return found


def _unpack(archive: Path, folder: Path) -> None:
    # What tarfile's filter "data" asks of a regular file; Python 3.11 has that only since its fourth release.
    folder = folder.absolute()
    folder.mkdir()
    most, bytes_told = max(ALWAYS_BYTES, MOST_GROWTH * archive.stat().st_size), 0
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                bytes_told += member.size + tarfile.BLOCKSIZE
                if bytes_told > most:  # by its header: what is too large is not even begun
                    raise CorpusError(
                        f"{archive}: unpacks to more than {MOST_GROWTH} times its size; recordings do not; left alone"
                    )
                if not member.isreg() or not member.name.lower().endswith(AUDIO_SUFFIXES):
                    continue
                target = folder / member.name
                if ".." in target.parts or not target.is_relative_to(folder):
                    raise CorpusError(f"{archive}: holds {member.name!r}, which leads out of its folder; not unpacked")
                target.parent.mkdir(parents=True, exist_ok=True)
                packed = tar.extractfile(member)
                assert packed is not None  # noqa: S101  (of a regular file it never is)
                with packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file)
    except _DAMAGED as error:
        raise CorpusError(f"{archive}: is not a whole tar archive ({error}); fetch it again") from error
