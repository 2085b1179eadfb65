"""Files that are either as they were or whole: a kill in the middle of a write must not spoil a run."""

import hashlib
import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes beside the file and puts it in its place at once; makes the folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(data)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def sha256(path: Path) -> str:
    """Digest of a file, without holding it in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def public_name(source: str) -> str:
    """A folder, file or repository as others may read it: of an absolute path the last part alone."""
    return Path(source).name if Path(source).is_absolute() else source
