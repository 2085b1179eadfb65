"""Read Xet storage with hf_xet's test scheme `local://DIR`, for which the client writes chunks and shards to a folder.

The client commits a Xet file only by its sha256, so the double looks up the Xet hash in the shards in the folder, and
reads the content with hf_xet.
"""

import os
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import HubError


# Layout of the file-info section of a shard ("MDB"): 48-byte records after a 48-byte header, up to a record whose hash
# is all ones.
_RECORD = 48
_HASH = 32
_LAST_HASH = b"\xff" * _HASH
_WITH_VERIFICATION = 1 << 31
_WITH_METADATA = 1 << 30
_DATABASE_SUFFIX = ".redb"
_SESSION_FOLDERS = shutil.ignore_patterns("shard-*")  # working folders of connected clients


class XetCas:
    """
    Represent a local content-addressable store that hf_xet clients on this machine read and write.

    Args:
        root (`Path`):
            Folder of the store, which the first client creates.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = f"local://{root}"

    def xet_hash(self, sha256: str) -> str | None:
        """Return the Xet hash of the file with a sha256, or None if it was not uploaded."""
        for shard in self.root.rglob("shards/*.mdb"):
            for file_sha256, xet_hash in _files_in_shard(shard.read_bytes()):
                if file_sha256 == sha256:
                    return xet_hash
        return None

    def fetch(self, xet_hash: str, size: int, destination: Path) -> None:
        """
        Write a file of `size` bytes from its chunks.

        A connected client holds the lock of the store's database, so hf_xet gets a copy of it in a folder with links
        to all other files.

        Raises:
            [`HubError`]: 400 if the store does not contain the complete file.
        """
        import hf_xet

        session = hf_xet.XetSession()
        with tempfile.TemporaryDirectory(dir=self.root.parent) as folder:
            view = Path(folder) / self.root.name
            try:
                shutil.copytree(self.root, view, copy_function=_link_or_copy, ignore=_SESSION_FOLDERS)
                with session.new_file_download_group(
                    endpoint=f"local://{view}", token=access_token(), token_expiry_unix_secs=token_expiry()
                ) as group:
                    group.start_download_file(hf_xet.XetFileInfo(xet_hash, size), str(destination))
            except Exception as error:  # hf_xet raises plain RuntimeErrors and errors of its own
                raise HubError(400, f"Xet file {xet_hash} cannot be read back: {error}") from error


def access_token() -> str:
    """Return the CAS token; a local CAS accepts any token."""
    return "xet"


def token_expiry() -> int:
    """Return the expiry of a new token in seconds since the epoch."""
    return int(time.time()) + 3600


def _link_or_copy(source: str, target: str) -> None:
    if source.endswith(_DATABASE_SUFFIX):
        shutil.copy(source, target)
    else:
        os.link(source, target)


def _files_in_shard(shard: bytes) -> Iterator[tuple[str, str]]:
    """Yield (sha256, Xet hash) of each file of a shard that records its sha256."""
    position = _RECORD
    while position + _RECORD <= len(shard) and shard[position : position + _HASH] != _LAST_HASH:
        xet_hash = _hash_hex(shard, position)
        flags, segments = struct.unpack_from("<II", shard, position + _HASH)
        records_per_segment = 2 if flags & _WITH_VERIFICATION else 1
        position += _RECORD * (1 + segments * records_per_segment)
        if flags & _WITH_METADATA:
            yield _hash_hex(shard, position), xet_hash
            position += _RECORD


def _hash_hex(data: bytes, position: int) -> str:
    """Return the hexadecimal form of a Merkle hash: four little-endian 64-bit words."""
    return "".join(f"{word:016x}" for word in struct.unpack_from("<4Q", data, position))
