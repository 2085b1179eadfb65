"""The texts in a file that is about to be published, and where each of them is."""

import json
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from escoita.hub.readings import BETWEEN


# Formats next to text; nobody can say what is in others.
_BINARY = {".safetensors", ".parquet", ".model", ".png", ".jpg", ".jpeg", ".wav", ".flac", ".ogg", ".opus", ".mp3"}
_VALUES = {".json", ".jsonl", ".yaml", ".yml"}
# Pieces of words, among them of paths that are nobody's.
_VOCABULARIES = {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "spiece.model"}
# Columns of predictions, and keys of manifests and records, that contain what people say.
_TRANSCRIPT_COLUMNS = {"reference", "hypothesis"}
_TRANSCRIPT_KEYS = {"text", "transcript", "transcription", "sentence", "reference", "hypothesis"}
# Of a header that safetensors itself reads.
_LONGEST_HEADER = 100_000_000
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


class NotThisFormat(Exception):
    """A file that is not what its name says; names the format."""


@dataclass(frozen=True)
class Piece:
    """
    A text of a file.

    Args:
        text (`str`): The text.
        where (`Callable[[int], str]`): Given a position in the text, returns where it is in the file, such as `:3` for
            the third line.
        values (`bool`, *optional*, defaults to `False`): The text is JSON or YAML.
        vocabulary (`bool`, *optional*, defaults to `False`): The text contains pieces of words.
        transcript (`bool`, *optional*, defaults to `False`): The text is what people say, or a model transcribed.
        binary (`bool`, *optional*, defaults to `False`): The text was decoded from bytes that are not text.
    """

    text: str
    where: Callable[[int], str]
    values: bool = False
    vocabulary: bool = False
    transcript: bool = False
    binary: bool = False


def is_known(name: str, data: bytes) -> bool:
    """Whether a file is text, or in a format whose texts are found."""
    return PurePosixPath(name).suffix.lower() in _BINARY or decoded(data) is not None


def pieces(name: str, data: bytes) -> Iterator[Piece]:
    """
    Yield the texts of a file that is neither parquet nor safetensors.

    Raises:
        NotThisFormat: It is not what its name says.
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
    """Return the text that data is, in UTF-8, or with a byte order mark in UTF-16 or UTF-32; else nothing."""
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
        NotThisFormat: It is not safetensors.
    """
    try:
        with content.open("rb") if isinstance(content, Path) else BytesIO(content) as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
        if not isinstance(header, dict):
            raise ValueError("no header")
    except (ValueError, RecursionError, struct.error) as error:
        raise NotThisFormat("safetensors") from error
    for key, value in header.items():
        yield Piece(BETWEEN.join([key, *_strings(value)]), lambda _, key=key: f", {shown(key)}")  # type: ignore[misc]


def in_parquet(name: str, data: bytes, shown: Callable[[str], str]) -> Iterator[Piece]:
    """
    Yield the texts and bytes of all columns, the names of these, and the metadata.

    Raises:
        NotThisFormat: It is not parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(BytesIO(data))
        metadata = [pq.read_metadata(BytesIO(data)).metadata, table.schema.metadata]
    except (pa.ArrowException, OSError) as error:
        raise NotThisFormat("parquet") from error
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
            yield from _said(json.loads(document))
        except (ValueError, RecursionError):
            continue


def _said(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _said(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in _TRANSCRIPT_KEYS and isinstance(each, str):
                yield each
            elif key == "normalization" and isinstance(
                each, dict
            ):  # what a normalizer makes of the words of transcripts
                yield from _strings(each.get("examples"))
            else:
                yield from _said(each)


def _in_png(data: bytes) -> str:
    """Return the texts of a PNG file, of which some are compressed."""
    from PIL import Image

    try:
        with Image.open(BytesIO(data), formats=["PNG"]) as image:
            image.load()  # texts may follow the pixels
            return BETWEEN.join(_strings(image.info))
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise NotThisFormat("PNG") from error


def _strings(value: Any) -> Iterator[str]:
    """All texts in a value, however deep."""
    if isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, dict):
        yield from _strings([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)
    elif value is not None:
        yield str(value)
