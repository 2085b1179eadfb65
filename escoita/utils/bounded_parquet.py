"""
Parquet files of somebody else, read within limits of bytes and rows.

A file of a few kilobytes can stand for many gigabytes: by compression, and because a value of a dictionary is written
once however many rows have it. So columns of text are read as dictionaries, and their size is added up before they are
decoded. What the metadata of a file says is compared with what is read wherever Arrow trusts it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from escoita.errors import RecordError
from escoita.utils.limits import DECODED_BYTES, PARQUET_BYTES, PREDICTION_ROWS, read_bounded


# What escoita writes. Snappy makes 22 bytes of one at most, Zstandard can make 30,000, and a single page of it may
# take 2 GiB whatever the metadata say.
CODECS = ("SNAPPY", "UNCOMPRESSED")
# Lists in the metadata: row groups, columns. A file of ours has one row group.
_METADATA_ITEMS = 10_000
_METADATA_TEXT = 1 << 20
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())


@contextmanager
def opened_parquet(path: Path, what: str, text: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """
    Opens a Parquet file whose metadata are within the limits.

    Args:
        path (`Path`): The file.
        what (`str`): What it should be, for errors: `a file of predictions`.
        text (`Sequence[str]`, *optional*): Columns of text, which [`decoded`] turns from dictionaries into text.

    Raises:
        RecordError: It is missing, is too large, cannot be read, or stands for too much. Arrow's errors inside the
            block become such an error too.
    """
    content = _content(path, what)
    limits = {"thrift_string_size_limit": _METADATA_TEXT, "thrift_container_size_limit": _METADATA_ITEMS}
    try:
        file = pq.ParquetFile(pa.BufferReader(content), **limits)
        _require_small(path, file.metadata)
        fields = [field.name for field in file.schema_arrow if field.name in text and field.type == pa.string()]
        yield pq.ParquetFile(pa.BufferReader(content), read_dictionary=fields, **limits) if fields else file
    except (OSError, pa.ArrowException, KeyError, TypeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: not {what}") from error


def decoded(path: Path, table: pa.Table, text: Sequence[str]) -> pa.Table:
    """
    Decodes columns of text that were read as dictionaries.

    Args:
        path (`Path`): Where the table is from, for errors.
        table (`pa.Table`): As [`opened_parquet`] reads it.
        text (`Sequence[str]`): Columns of text.

    Raises:
        RecordError: The decoded texts would take too many bytes.
        pa.ArrowException: A text is not UTF-8, or the table is damaged.
    """
    table.validate(full=True)  # reading does not look whether a text is UTF-8
    size = sum(_decoded_bytes(chunk) for name in text for chunk in table[name].chunks)
    if size > DECODED_BYTES:
        raise RecordError(f"{path}: its texts take {size:,} bytes once decoded; at most {DECODED_BYTES:,} are read")
    for name in text:
        place = table.schema.get_field_index(name)
        chunks = [chunk.dictionary_decode() for chunk in table[name].chunks]
        field = table.schema.field(name).with_type(pa.string())
        table = table.set_column(place, field, pa.chunked_array(chunks, pa.string()))
    return table


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """A schema without metadata, in which dictionaries of text are text."""
    return pa.schema(
        [field.with_type(pa.string()) if field.type == _DICTIONARY else field for field in schema]
    ).remove_metadata()


def _content(path: Path, what: str) -> bytes:
    try:
        return read_bounded(path, PARQUET_BYTES)
    except OSError as error:
        raise RecordError(f"{path}: not {what}") from error


def _require_small(path: Path, metadata: pq.FileMetaData) -> None:
    if metadata.num_rows > PREDICTION_ROWS:
        raise RecordError(f"{path}: {metadata.num_rows:,} rows; at most {PREDICTION_ROWS:,} are read")
    size = rows = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        rows += group.num_rows
        for column in map(group.column, range(group.num_columns)):
            if column.compression not in CODECS:
                raise RecordError(f"{path}: compressed with {column.compression}; escoita writes {CODECS[0]}")
            if column.num_values != group.num_rows:  # Arrow reads as many as the column says
                raise RecordError(f"{path}: its columns have different numbers of rows")
            size += max(0, column.total_uncompressed_size)
    if rows != metadata.num_rows:
        raise RecordError(f"{path}: its row groups have {rows:,} rows, and not {metadata.num_rows:,}")
    if size > DECODED_BYTES:
        raise RecordError(f"{path}: {size:,} bytes once decompressed; at most {DECODED_BYTES:,} are read")


def _decoded_bytes(chunk: pa.Array) -> int:
    """Bytes of the texts of a chunk, each counted as often as a row has it."""
    lengths = pc.binary_length(chunk.dictionary).cast(pa.int64())
    return int(pc.sum(lengths.take(chunk.indices)).as_py() or 0)
