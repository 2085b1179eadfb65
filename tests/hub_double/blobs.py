"""Store file contents on disk by their sha256, and the entries of trees that refer to them."""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .cas import XetCas
from .errors import HubError


# fmt: off
LFS_EXTENSIONS = (
    ".7z", ".arrow", ".bin", ".bz2", ".ckpt", ".flac", ".ftz", ".gz", ".h5", ".joblib", ".mlmodel", ".model", ".mp3",
    ".msgpack", ".npy", ".npz", ".ogg", ".onnx", ".ot", ".parquet", ".pb", ".pickle", ".pkl", ".pt", ".pth", ".rar",
    ".safetensors", ".tar", ".tflite", ".tgz", ".wasm", ".wav", ".xz", ".zip", ".zst",
)
# fmt: on
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileEntry:
    """
    Store a file of a tree.

    Args:
        size (`int`):
            Size in bytes.
        oid (`str`):
            Git's object id of the content, or of the pointer if the file is in LFS.
        sha256 (`str`):
            SHA-256 of the content, which is the name of the blob and the id in LFS.
        pointer_size (`int`, *optional*):
            Size of the LFS pointer in bytes; None for a regular file.
        xet_hash (`str`, *optional*):
            Hash in Xet storage, if it was uploaded there.
    """

    size: int
    oid: str
    sha256: str
    pointer_size: int | None = None
    xet_hash: str | None = None

    @property
    def is_lfs(self) -> bool:
        return self.pointer_size is not None


class BlobStore:
    """
    Store blobs in a folder, one file each.

    Args:
        root (`Path`):
            Folder, which is created if it is missing.
        cas (`XetCas`, *optional*):
            Xet storage from which files that were uploaded through hf_xet are fetched.
    """

    def __init__(self, root: Path, cas: XetCas | None = None) -> None:
        self.root = root
        self.cas = cas
        root.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Return the path of a blob, which may not exist."""
        if _SHA256.fullmatch(sha256) is None:
            raise HubError(400, f"not a sha256: {sha256}")
        return self.root / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).exists()

    def text(self, entry: FileEntry) -> str:
        return self.path(entry.sha256).read_text("utf-8", errors="replace")

    def new_part(self) -> Path:
        """Create an empty file for a blob that is streamed before `adopt`."""
        handle, name = tempfile.mkstemp(dir=self.root, suffix=".part")
        os.close(handle)
        return Path(name)

    def adopt(self, part: Path, sha256: str) -> None:
        """Rename a complete file to the blob `sha256`."""
        os.replace(part, self.path(sha256))

    def add_regular(self, content: bytes) -> FileEntry:
        """Store a regular file, and return its entry."""
        sha256 = hashlib.sha256(content).hexdigest()
        if not self.has(sha256):
            part = self.new_part()
            part.write_bytes(content)
            self.adopt(part, sha256)
        return FileEntry(size=len(content), oid=git_oid(content), sha256=sha256)

    def add(self, path: str, content: bytes) -> FileEntry:
        """Store the content of a file in git or LFS, depending on its path."""
        entry = self.add_regular(content)
        return self.lfs_entry(entry.sha256, entry.size) if path.endswith(LFS_EXTENSIONS) else entry

    def lfs_entry(self, sha256: str, size: int) -> FileEntry:
        """
        Return the entry of an LFS file that was uploaded with LFS or Xet.

        Raises:
            [`HubError`]: 400 if it was not uploaded, or `size` is not its size in bytes.
        """
        xet_hash = self.cas.xet_hash(sha256) if self.cas is not None else None
        if self.cas is not None and xet_hash is not None and not self.has(sha256):
            self._fetch(self.cas, xet_hash, sha256, size)
        if not self.has(sha256):
            raise HubError(400, f"LFS pointer pointed to a file that does not exist: {sha256}")
        actual_size = self.path(sha256).stat().st_size
        if actual_size != size:
            raise HubError(400, f"LFS file {sha256} has {actual_size} bytes, not {size}")
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        return FileEntry(size, git_oid(pointer), sha256, pointer_size=len(pointer), xet_hash=xet_hash)

    def _fetch(self, cas: XetCas, xet_hash: str, sha256: str, size: int) -> None:
        """Copy a file from Xet storage if its sha256 is that of the client."""
        part = self.new_part()
        try:
            cas.fetch(xet_hash, size, part)
            with part.open("rb") as file:
                actual_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if actual_sha256 != sha256:
                raise HubError(400, f"The content's sha256 is {actual_sha256}, not {sha256}")
            self.adopt(part, sha256)
        finally:
            part.unlink(missing_ok=True)


def git_oid(content: bytes) -> str:
    """Return Git's id of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def gitattributes() -> bytes:
    """Return the `.gitattributes` of a new repository."""
    return "".join(f"*{extension} filter=lfs diff=lfs merge=lfs -text\n" for extension in LFS_EXTENSIONS).encode()
