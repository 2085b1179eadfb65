"""Read untrusted JSON, YAML and Parquet files within limits that are checked first."""

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
    FileSizeError,
    LfsPointerError,
    is_pointer,
    parse_json,
    read_bounded,
)


MOST_JSON_BYTES = 2_000_000


def read_object(path: Path, owner: str, most_bytes: int = MOST_JSON_BYTES) -> dict[str, Any]:
    """
    Read a JSON object.

    Args:
        path (`Path`): The file.
        owner (`str`): The adapter or model that contains the file, for errors.
        most_bytes (`int`, *optional*): The largest accepted size in bytes.

    Raises:
        EscoitaError: The file is too large, is not a JSON object, or contains NaN, infinity, an integer of more than
            100 digits or a duplicate key.
    """
    try:
        value = parse_json(read_bounded(path, most_bytes))
    except RecordError as error:
        error.path = f"{owner}/{path.name}"
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problem = f"cannot be read ({visible(str(reason))[:200]})"
        raise EscoitaError(problem, path=f"{owner}/{path.name}") from error
    if not isinstance(value, dict):
        problem = f"must be a JSON object, not a {type(value).__name__}"
        raise EscoitaError(problem, path=f"{owner}/{path.name}")
    return value


def refuse_large(path: Path, owner: str, most_bytes: int) -> None:
    """
    Raise an error if a file exceeds a size; the file is not read.

    Args:
        path (`Path`): The file.
        owner (`str`): The adapter or model that contains the file, for errors.
        most_bytes (`int`): The largest accepted size in bytes.

    Raises:
        FileSizeError: The file is larger.
    """
    size = path.stat().st_size
    if size > most_bytes:
        raise FileSizeError(path=f"{owner}/{path.name}", size=size, limit=most_bytes)


def refuse_pointer(path: Path, owner: str) -> None:
    """
    Raise an error if a file is a Git LFS pointer.

    Args:
        path (`Path`): The file.
        owner (`str`): The adapter or model that contains the file, for errors.

    Raises:
        LfsPointerError: The file is a pointer.
    """
    with path.open("rb") as file:
        start = file.read(POINTER_BYTES)
    if is_pointer(start):
        raise LfsPointerError(path=f"{owner}/{path.name}")


_INTEGER = "tag:yaml.org,2002:int"


def read_yaml(text: str | bytes) -> tuple[Any, yaml.Node | None]:
    """
    Read a YAML document.

    Args:
        text (`str` or `bytes`): A document in YAML or JSON.

    Returns:
        `tuple[Any, yaml.Node | None]`: The values, and the node tree with their positions.

    Raises:
        yaml.YAMLError: The text is not YAML, contains other than plain values, is too long or nested too deeply, or
            expands to too many values.
    """
    if len(text) > YAML_CHARACTERS:
        raise yaml.YAMLError(f"more than {YAML_CHARACTERS:,} characters")
    try:
        loader = yaml.SafeLoader(text)
        try:
            tree = loader.get_single_node()
            _values(tree, {}, 0)
            return (None if tree is None else loader.construct_document(tree)), tree
        finally:
            loader.dispose()
    except RecursionError as error:
        raise yaml.YAMLError(f"more than {LEVELS} nesting levels") from error
    except (ValueError, TypeError, LookupError) as error:  # such as an impossible date
        raise yaml.YAMLError(f"a value cannot be read ({error})") from error


def _values(node: yaml.Node | None, known: dict[int, int], depth: int) -> int:
    """Return the number of values of a node, itself included, with aliases expanded."""
    if not isinstance(node, yaml.CollectionNode):
        if isinstance(node, yaml.ScalarNode) and node.tag == _INTEGER and len(node.value) > DIGITS:
            raise yaml.YAMLError(f"an integer of {len(node.value):,} digits")
        return 1
    if depth > LEVELS:
        raise yaml.YAMLError(f"more than {LEVELS} nesting levels")
    if id(node) not in known:
        parts = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
        known[id(node)] = 1 + sum(_values(part, known, depth + 1) for part in parts)
    if known[id(node)] > YAML_VALUES:
        raise yaml.YAMLError(f"aliases expand to more than {YAML_VALUES:,} values; write them out")
    return known[id(node)]


def repeated_keys(text: str | bytes) -> Iterator[tuple[tuple[str | int, ...], int, int]]:
    """
    Yield each key that a mapping contains more than once; a key that overrides a merged one (`<<`) is not repeated.

    Args:
        text (`str` or `bytes`): A document that [`read_yaml`] accepts. Its tree has merged keys already.

    Returns:
        `Iterator[tuple[tuple[str | int, ...], int, int]]`: The keys and list indices that lead to it, its first line,
        and that of the repetition, counted from 1.
    """
    waiting: list[tuple[tuple[str | int, ...], yaml.Node | None]] = [((), yaml.compose(text, yaml.SafeLoader))]
    visited: set[int] = set()  # nodes with aliases
    while waiting:
        above, each = waiting.pop(0)
        if id(each) in visited:
            continue
        visited.add(id(each))
        if isinstance(each, yaml.SequenceNode):
            waiting += [((*above, index), value) for index, value in enumerate(each.value)]
        elif isinstance(each, yaml.MappingNode):
            rows: dict[str, int] = {}
            for key, value in each.value:
                name, row = str(key.value), key.start_mark.line + 1
                if name in rows:
                    yield (*above, name), rows[name], row
                rows.setdefault(name, row)
                waiting.append(((*above, name), value))


# The codecs that escoita writes. Snappy expands one byte to at most 22, Zstandard to 30,000, and a single page of
# Zstandard may take 2 GiB, regardless of the metadata.
CODECS = ("SNAPPY", "UNCOMPRESSED")
# Lists in the metadata: row groups, columns. A file of escoita has one row group.
_METADATA_ITEMS = 10_000
_METADATA_TEXT = 1 << 20
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())


@contextmanager
def opened_parquet(path: Path, kind: str, text: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """
    Open a Parquet file whose metadata are within the limits.

    Args:
        path (`Path`): The file.
        kind (`str`): The expected kind of file, for errors: `a file of predictions`.
        text (`Sequence[str]`, *optional*): Text columns, which are read as dictionaries; see [`decoded`].

    Raises:
        RecordError: The file is missing, is too large, cannot be read, or would be too large once decompressed. Errors
            of Arrow inside the block are converted to this error.
    """
    content = _content(path, kind)
    limits = {"thrift_string_size_limit": _METADATA_TEXT, "thrift_container_size_limit": _METADATA_ITEMS}
    try:
        file = pq.ParquetFile(pa.BufferReader(content), **limits)
        _check_metadata(path, file.metadata)
        fields = [field.name for field in file.schema_arrow if field.name in text and field.type == pa.string()]
        yield pq.ParquetFile(pa.BufferReader(content), read_dictionary=fields, **limits) if fields else file
    except (OSError, pa.ArrowException, KeyError, TypeError, UnicodeDecodeError) as error:
        raise RecordError(f"not {kind}", path=path) from error


def decoded(path: Path, table: pa.Table, text: Sequence[str]) -> pa.Table:
    """
    Decode text columns that were read as dictionaries.

    Args:
        path (`Path`): The file of the table, for errors.
        table (`pa.Table`): A table of [`opened_parquet`].
        text (`Sequence[str]`): The names of the text columns.

    Raises:
        RecordError: The decoded texts would take too many bytes.
        pa.ArrowException: A text is not UTF-8, or the table is damaged.
    """
    table.validate(full=True)  # reading does not check that a text is UTF-8
    size = sum(_decoded_bytes(chunk) for name in text for chunk in table[name].chunks)
    _check_decoded_size(path, size)
    for name in text:
        place = table.schema.get_field_index(name)
        chunks = [chunk.dictionary_decode() for chunk in table[name].chunks]
        field = table.schema.field(name).with_type(pa.string())
        table = table.set_column(place, field, pa.chunked_array(chunks, pa.string()))
    return table


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema without metadata, with text in place of dictionaries of text."""
    return pa.schema(
        [field.with_type(pa.string()) if field.type == _DICTIONARY else field for field in schema]
    ).remove_metadata()


def _content(path: Path, kind: str) -> bytes:
    try:
        return read_bounded(path, PARQUET_BYTES)
    except OSError as error:
        raise RecordError(f"not {kind}", path=path) from error


def _check_metadata(path: Path, metadata: pq.FileMetaData) -> None:
    if metadata.num_rows > PREDICTION_ROWS:
        raise RecordError(f"at most {PREDICTION_ROWS:,} are read", path=path, key="rows", value=metadata.num_rows)
    size = rows = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        rows += group.num_rows
        for column in map(group.column, range(group.num_columns)):
            if column.compression not in CODECS:
                hint = f"use {CODECS[0]}"
                raise RecordError("not supported", path=path, key="compression", value=column.compression, hint=hint)
            if column.num_values != group.num_rows:  # Arrow reads the number of values that the column declares
                raise RecordError("the columns have different numbers of rows", path=path)
            size += max(0, column.total_uncompressed_size)
    if rows != metadata.num_rows:
        problem = f"the row groups have {rows:,} rows, but the metadata declare {metadata.num_rows:,}"
        raise RecordError(problem, path=path)
    _check_decoded_size(path, size)


def _check_decoded_size(path: Path, size: int) -> None:
    if size > DECODED_BYTES:
        raise RecordError(f"at most {DECODED_BYTES:,} are read", path=path, key="decoded bytes", value=size)


def _decoded_bytes(chunk: pa.Array) -> int:
    """Return the number of bytes of the texts of a chunk, with repeated texts counted for each row."""
    lengths = pc.binary_length(chunk.dictionary).cast(pa.int64())
    return int(pc.sum(lengths.take(chunk.indices)).as_py() or 0)
