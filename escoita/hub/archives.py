"""What gzip and zip files contain, up to limits of size, number and depth."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath


# Per file that is published. Beyond them an archive is refused, as nobody can say what is in it.
MOST_BYTES = 200_000_000
MOST_MEMBERS = 1_000
MOST_LEVELS = 3
_CHUNK = 1 << 20


class NotLookedInto(Exception):
    """An archive, or a member of one, that cannot be read within the limits; says why."""


@dataclass
class Budget:
    """What may still be read of one file."""

    bytes: int = MOST_BYTES
    members: int = MOST_MEMBERS

    def take(self, size: int) -> None:
        """
        Subtract a member of some bytes.

        Raises:
            NotLookedInto: Nothing is left.
        """
        self.bytes -= size
        self.members -= 1
        if self.bytes < 0:
            raise NotLookedInto(f"an archive of more than {MOST_BYTES // 1_000_000} MB")
        if self.members < 0:
            raise NotLookedInto(f"an archive of more than {MOST_MEMBERS} files")


def is_archive(data: bytes) -> bool:
    """Whether data is gzip or zip, or ends with a zip file, as a picture can."""
    return data.startswith(b"\x1f\x8b\x08") or zipfile.is_zipfile(BytesIO(data))


def members(name: str, data: bytes, budget: Budget) -> Iterator[tuple[str, bytes]]:
    """
    Yield name and content of each file in an archive.

    Args:
        name (`str`): The archive's; a gzip file contains the file of that name without its last suffix.
        data (`bytes`): Of which [`is_archive`] is true.
        budget ([`Budget`]): What may still be read.

    Raises:
        NotLookedInto: The archive exceeds a limit, or is encrypted or damaged.
    """
    if data.startswith(b"\x1f\x8b\x08"):
        content = _gunzipped(data, budget.bytes)
        budget.take(len(content))
        yield PurePosixPath(name).with_suffix("").name or "content", content
    if zipfile.is_zipfile(BytesIO(data)):
        try:
            with zipfile.ZipFile(BytesIO(data)) as archive:
                for member in archive.infolist():
                    if not member.is_dir():
                        content = _unzipped(archive, member, budget.bytes)
                        budget.take(len(content))
                        yield member.filename, content
                if archive.comment:
                    yield "comment", archive.comment
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, zlib.error) as error:
            # RuntimeError is what zipfile raises for a member that needs a password.
            raise NotLookedInto("an archive that is damaged or encrypted") from error


def _gunzipped(data: bytes, most: int) -> bytes:
    """Return at most one byte more than allowed; of a damaged file, what comes before the damage."""
    content = bytearray()
    with gzip.GzipFile(fileobj=BytesIO(data)) as file:
        try:
            while len(content) <= most and (chunk := file.read1(_CHUNK)):
                content += chunk
        except (OSError, EOFError, zlib.error):
            pass
    return bytes(content)


def _unzipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    with archive.open(member) as file:
        return file.read(most + 1)
