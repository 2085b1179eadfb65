"""List the texts that a file contains, archives included, within limits."""

import gzip
import json
import struct
import zipfile
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from escoita.hub.secrets import BETWEEN


# Limits for each published file. An archive beyond them is refused, because its content is not known.
MOST_BYTES = 200_000_000
MOST_MEMBERS = 1_000
MOST_LEVELS = 3
_CHUNK = 1 << 20


class UnreadableArchive(Exception):
    """Report an archive, or a member of one, that cannot be read within the limits."""


@dataclass
class Budget:
    """
    Limit the bytes and members that are read from one file.

    Args:
        bytes (`int`, *optional*): Remaining bytes.
        members (`int`, *optional*): Remaining members of archives.
    """

    bytes: int = MOST_BYTES
    members: int = MOST_MEMBERS

    def take(self, size: int) -> None:
        """
        Subtract a member of `size` bytes.

        Raises:
            UnreadableArchive: The limit is exceeded.
        """
        self.bytes -= size
        self.members -= 1
        if self.bytes < 0:
            raise UnreadableArchive(f"an archive of more than {MOST_BYTES // 1_000_000} MB")
        if self.members < 0:
            raise UnreadableArchive(f"an archive of more than {MOST_MEMBERS} files")


def is_archive(data: bytes) -> bool:
    """Return whether data is gzip or zip, or ends with a zip file, as an image can."""
    return data.startswith(b"\x1f\x8b\x08") or zipfile.is_zipfile(BytesIO(data))


def members(name: str, data: bytes, budget: Budget) -> Iterator[tuple[str, bytes]]:
    """
    Yield name and content of each file in an archive.

    Args:
        name (`str`): Name of the archive; a gzip file contains the file of that name without its last suffix.
        data (`bytes`): Content of the archive, for which [`is_archive`] is true.
        budget ([`Budget`]): The remaining limit.

    Raises:
        UnreadableArchive: The archive exceeds a limit, or is encrypted or damaged.
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
            # zipfile raises RuntimeError for a member that needs a password.
            raise UnreadableArchive("an archive that is damaged or encrypted") from error


def _gunzipped(data: bytes, most: int) -> bytes:
    """Return at most one byte more than allowed; for a damaged file, the content before the damage."""
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


# Binary formats whose texts can be found.
_BINARY = {".safetensors", ".parquet", ".model", ".png", ".jpg", ".jpeg", ".wav", ".flac", ".ogg", ".opus", ".mp3"}
_VALUES = {".json", ".jsonl", ".yaml", ".yml"}
# Files of pieces of words, some of which look like paths.
_VOCABULARIES = {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "spiece.model"}
# Columns of predictions, and keys of manifests and records, that contain transcripts.
_TRANSCRIPT_COLUMNS = {"reference", "hypothesis"}
_TRANSCRIPT_KEYS = {"text", "transcript", "transcription", "sentence", "reference", "hypothesis"}
# The limit of safetensors itself.
_LONGEST_HEADER = 100_000_000
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


class FormatMismatch(Exception):
    """Report a file whose content is not of the format that its name states."""


@dataclass(frozen=True)
class Piece:
    """
    Hold a text of a file.

    Args:
        text (`str`): The text.
        place (`Callable[[int], str]`): Function from a position in the text to its place in the file, such as `:3` for
            the third line.
        values (`bool`, *optional*, defaults to `False`): Whether the text is JSON or YAML.
        vocabulary (`bool`, *optional*, defaults to `False`): Whether the text contains pieces of words.
        transcript (`bool`, *optional*, defaults to `False`): Whether the text is a transcript or a hypothesis.
        binary (`bool`, *optional*, defaults to `False`): Whether the text was decoded from bytes that are not text.
    """

    text: str
    place: Callable[[int], str]
    values: bool = False
    vocabulary: bool = False
    transcript: bool = False
    binary: bool = False


def is_known(name: str, data: bytes) -> bool:
    """Return whether a file is text, or of a format whose texts can be found."""
    return PurePosixPath(name).suffix.lower() in _BINARY or decoded(data) is not None


def pieces(name: str, data: bytes) -> Iterator[Piece]:
    """
    Yield the texts of a file that is neither parquet nor safetensors.

    Raises:
        FormatMismatch: The content is not of the format that the name states.
    """
    path = PurePosixPath(name)
    suffix, text = path.suffix.lower(), decoded(data)
    content = data.decode("utf-8", "replace") if text is None else text

    @cache
    def line_ends() -> list[int]:
        return list(accumulate((len(line) for line in content.split("\n")), lambda start, length: start + length + 1))

    def line(position: int) -> str:
        return "" if text is None else f":{bisect_left(line_ends(), position) + 1}"

    yield Piece(content, line, suffix in _VALUES, path.name in _VOCABULARIES, binary=text is None)
    if suffix == ".png":
        yield Piece(_in_png(data), lambda _: ", metadata", binary=True)


def decoded(data: bytes) -> str | None:
    """Decode data from UTF-8, or, by its byte order mark, from UTF-16 or UTF-32; return None if it is not text."""
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def in_safetensors(content: bytes | Path, shown: Callable[[str], str]) -> Iterator[Piece]:
    """
    Yield the names of tensors, and the metadata.

    Raises:
        FormatMismatch: It is not safetensors.
    """
    try:
        with content.open("rb") if isinstance(content, Path) else BytesIO(content) as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
        if not isinstance(header, dict):
            raise ValueError("no header")
    except (ValueError, RecursionError, struct.error) as error:
        raise FormatMismatch("safetensors") from error
    for key, value in header.items():
        yield Piece(BETWEEN.join([key, *_strings(value)]), lambda _, key=key: f", {shown(key)}")  # type: ignore[misc]


def in_parquet(name: str, data: bytes, shown: Callable[[str], str]) -> Iterator[Piece]:
    """
    Yield the texts and bytes of all columns, the names of these, and the metadata.

    Raises:
        FormatMismatch: It is not parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(BytesIO(data))
        metadata = [pq.read_metadata(BytesIO(data)).metadata, table.schema.metadata]
    except (pa.ArrowException, OSError) as error:
        raise FormatMismatch("parquet") from error
    metadata += [field.metadata for field in table.schema]
    about = BETWEEN.join([str(table.schema), *_strings(metadata)])
    yield Piece(about, lambda _: ", metadata")
    predictions = PurePosixPath(name).name.startswith("predictions")
    for title, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_primitive(column.type):
            continue
        # All rows at once: one by one a large corpus would take minutes.
        rows = ["\n".join(_strings(value)) for value in column.to_pylist()]
        starts = list(accumulate((len(row) + len(BETWEEN) for row in rows), initial=0))

        def row(position: int, starts: list[int] = starts, title: str = title) -> str:
            return f", row {bisect_right(starts, position)}, {shown(title)}"

        yield Piece(BETWEEN.join(rows), row, transcript=predictions and title in _TRANSCRIPT_COLUMNS)


def transcripts(name: str, piece: Piece) -> Iterator[str]:
    """
    Yield the transcripts in predictions and manifests, and those that `data.json` quotes as examples.

    Args:
        name (`str`): The file.
        piece ([`Piece`]): A text of it.
    """
    if piece.transcript:
        yield piece.text
    suffix = PurePosixPath(name).suffix.lower()
    if piece.vocabulary or suffix not in (".json", ".jsonl"):
        return
    for document in piece.text.splitlines() if suffix == ".jsonl" else [piece.text]:
        try:
            yield from _quoted(json.loads(document))
        except (ValueError, RecursionError):
            continue


def _quoted(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _quoted(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in _TRANSCRIPT_KEYS and isinstance(each, str):
                yield each
            elif key == "normalization" and isinstance(each, dict):  # its examples are parts of transcripts
                yield from _strings(each.get("examples"))
            else:
                yield from _quoted(each)


def _in_png(data: bytes) -> str:
    """Return the texts of a PNG file, some of which are compressed."""
    from PIL import Image

    try:
        with Image.open(BytesIO(data), formats=["PNG"]) as image:
            image.load()  # texts may follow the pixels
            return BETWEEN.join(_strings(image.info))
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise FormatMismatch("PNG") from error


def _strings(value: Any) -> Iterator[str]:
    """Yield all texts in a nested value."""
    if isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, dict):
        yield from _strings([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)
    elif value is not None:
        yield str(value)
