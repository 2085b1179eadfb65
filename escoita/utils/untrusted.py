"""Read JSON, YAML and Parquet files that somebody else wrote, within limits that are checked first."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from escoita.errors import EscoitaError, RecordError
from escoita.utils.formatting import visible
from escoita.utils.limits import (
    DECODED_BYTES,
    DIGITS,
    LEVELS,
    PARQUET_BYTES,
    POINTER_BYTES,
    PREDICTION_ROWS,
    YAML_CHARACTERS,
    YAML_VALUES,
    is_pointer,
    parse_json,
    pointer_message,
    read_bounded,
)


MOST_JSON_BYTES = 2_000_000


def read_object(path: Path, what: str, most_bytes: int = MOST_JSON_BYTES) -> dict[str, Any]:
    """
    Reads a JSON object.

    Args:
        path (`Path`): The file.
        what (`str`): Names its owner in errors, such as `adapter user/name`.
        most_bytes (`int`, *optional*): The largest accepted file.

    Returns:
        `dict[str, Any]`: The object.

    Raises:
        EscoitaError: The file is too large, is not a JSON object, or contains NaN, infinity, an integer of more than
            100 digits or a key twice.
    """
    try:
        value = parse_json(read_bounded(path, most_bytes))
    except EscoitaError as error:
        raise EscoitaError(f"{what}: {str(error).replace(str(path), path.name, 1)}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise EscoitaError(f"{what}: {path.name}: cannot be read ({visible(str(reason))[:200]})") from error
    if not isinstance(value, dict):
        raise EscoitaError(f"{what}: {path.name}: must be a JSON object, not a {type(value).__name__}")
    return value


def refuse_large(path: Path, what: str, most_bytes: int) -> None:
    """
    Refuses a file above a size, before anything of it is read.

    Raises:
        EscoitaError: It is larger.
    """
    size = path.stat().st_size
    if size > most_bytes:
        raise EscoitaError(f"{what}: {path.name} has {size:,} bytes; at most {most_bytes:,} are accepted")


def refuse_pointer(path: Path, what: str) -> None:
    """
    Refuses a Git LFS pointer, which a clone without git-lfs leaves instead of a large file.

    Raises:
        EscoitaError: The file is one.
    """
    with path.open("rb") as file:
        start = file.read(POINTER_BYTES)
    if is_pointer(start):
        raise EscoitaError(f"{what}: {pointer_message(path.name)}")


_INTEGER = "tag:yaml.org,2002:int"


def read_yaml(text: str | bytes) -> tuple[Any, yaml.Node | None]:
    """
    Reads a document.

    Args:
        text (`str` or `bytes`): YAML, or JSON.

    Returns:
        `tuple[Any, yaml.Node | None]`: Its values, and where each of them stands.

    Raises:
        yaml.YAMLError: It is not YAML, names anything but plain values, is too long or nested too deep, or stands for
            too many values by its aliases.
    """
    if len(text) > YAML_CHARACTERS:
        raise yaml.YAMLError(f"is longer than {YAML_CHARACTERS:,} characters")
    try:
        loader = yaml.SafeLoader(text)
        try:
            tree = loader.get_single_node()
            _values(tree, {}, 0)
            return (None if tree is None else loader.construct_document(tree)), tree
        finally:
            loader.dispose()
    except RecursionError as error:
        raise yaml.YAMLError("is nested too deep to be read") from error
    except (ValueError, TypeError, LookupError) as error:  # such as a date that is none
        raise yaml.YAMLError(f"holds a value that cannot be read ({error})") from error


def _values(node: yaml.Node | None, known: dict[int, int], depth: int) -> int:
    """How many values a node stands for, itself among them; aliases are the same node again."""
    if not isinstance(node, yaml.CollectionNode):
        if isinstance(node, yaml.ScalarNode) and node.tag == _INTEGER and len(node.value) > DIGITS:
            raise yaml.YAMLError(f"holds an integer of {len(node.value):,} digits")
        return 1
    if depth > LEVELS:
        raise yaml.YAMLError("is nested too deep to be read")
    if id(node) not in known:
        parts = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
        known[id(node)] = 1 + sum(_values(part, known, depth + 1) for part in parts)
    if known[id(node)] > YAML_VALUES:
        raise yaml.YAMLError(f"stands for more than {YAML_VALUES:,} values by its aliases; write them out")
    return known[id(node)]


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
