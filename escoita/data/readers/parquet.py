"""Read parquet files that contain recordings, as on the Hub."""

import glob
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from escoita.data.clips import cached_copy
from escoita.data.readers.base import Origin, requested_split, require_split
from escoita.data.readers.recordings import (
    ALWAYS_BYTES,
    MOST_GROWTH,
    SAMPLING_RATE,
    CountError,
    Piece,
    UnpackedSizeError,
    collect_pieces,
    find_table_columns,
    split_recordings,
    with_labels,
)
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Column, Corpus
from escoita.utils.untrusted import decoded


# test-00000-of-00001.parquet, test.parquet, test/0000.parquet
_SPLITS = ("train", "validation", "valid", "dev", "test")
_MAPPED = pa.schema([("path", pa.string()), ("bytes", pa.binary())])
# Recordings that are in memory together while a file is copied.
_AT_ONCE = 64


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Read parquet files: one, all in a folder and its subfolders, or those of a pattern such as `data/test-*.parquet`.

    The recordings are found by the type of their column: a struct of `bytes` and `path`, as the Hub stores audio, or
    binary; or a struct of `array` and `sampling_rate`, or a list of samples next to a column `sampling_rate`. A text
    column contains paths relative to the parquet file, and so does a `path` without `bytes`. The recordings are never
    in memory together: those of each file are written once into an Arrow file in the folder `recordings` of the cache
    (`$ESCOITA_CACHE`), and mapped from there, which takes the same disk space again. They are written unchanged, and
    decoded samples as wav files.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus; `split` selects files by their name or folder
            (`test-00000-of-00001.parquet`, `test/0000.parquet`), or else rows by the column of the split.
        language (`str`): The language of rows that name none.

    Raises:
        CorpusError: There is no such file, the split is not set or not found, or a column is not found.
    """
    files = _files(corpus.path)
    by_split = _by_split(corpus.split, files)
    if by_split and "split" not in corpus.columns and (corpus.split or len(by_split) > 1):
        split = requested_split(corpus, by_split)
        return read_files(by_split[split], corpus, language, corpus.columns, split)
    return read_files(files, corpus, language, corpus.columns)


def read_files(
    files: Sequence[Path], corpus: Corpus, language: str, chosen: Mapping[Column, str], split: str | None = None
) -> tuple[Utterances, list[Rejected]]:
    """
    Read the rows of parquet files.

    Args:
        files (`Sequence[Path]`): The files in their order.
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus of the files.
        language (`str`): The language of rows that name none.
        chosen (`Mapping[Column, str]`): The same as in [`~escoita.data.readers.base.find_columns`].
        split (`str`, *optional*): The split of all rows. By default, rows are selected by the column of the split.

    Raises:
        CorpusError: A file cannot be read, or a column is not found.
    """
    wanted = corpus.split if split is None else None
    pieces = (_piece(path, Origin.of(corpus, language, path, Path(), split or ""), chosen, wanted) for path in files)
    seen: set[str] = set()
    rows, rejected = collect_pieces(pieces, wanted, corpus.limit, seen)
    require_split(corpus, seen)
    return rows, rejected


def splits_of(files: Sequence[Path]) -> list[str]:
    """
    Return the splits that the names or folders of parquet files state.

    Args:
        files (`Sequence[Path]`): The files.
    """
    return list(_by_split(None, files))


def _files(path: str) -> list[Path]:
    if Path(path).is_dir():
        files = sorted(Path(path).rglob("*.parquet"))
    else:
        files = [Path(path)] if Path(path).is_file() else sorted(map(Path, glob.glob(path, recursive=True)))
    if not files:
        raise CorpusError("no parquet file found", path=path)
    return files


def _by_split(wanted: str | None, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the files by the split in their name, or else in their folder's, without those that name no split."""
    by_split: dict[str, list[Path]] = {}
    for path in files:
        names = path.stem, re.sub(r"-\d+-of-\d+.*", "", path.stem), path.parent.name
        if splits := [name for name in names if name in (*_SPLITS, wanted)]:
            by_split.setdefault(splits[0], []).append(path)
    return by_split


def _piece(path: Path, origin: Origin, chosen: Mapping[Column, str], split: str | None) -> Piece:
    try:
        schema = pq.read_schema(path)
        _check_growth(path)
        audio, names = find_table_columns(schema, chosen, ("text", "split") if split else ("text",))
        columns = [name for name in dict.fromkeys(names) if name and name in schema.names]
        # A text that a few bytes repeat in a million rows is decoded only if all of them fit into memory.
        texts = [name for name in columns if _is_text(schema.field(name).type)]
        table = decoded(path, pq.read_table(path, columns=columns, read_dictionary=texts), texts)
        mapped = pa.memory_map(str(cached_copy(path, "recordings", partial(_copy_recordings, column=audio), audio)))
        recordings = pa.ipc.open_file(mapped).read_all()
        for each in (table, recordings):
            each.validate(full=True)  # reading does not check that text is UTF-8
        rows = with_labels(table, _labels(schema))
    except CorpusError as error:
        error.path = error.path or path
        raise
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CorpusError(f"not a readable parquet file ({' '.join(str(error).split())})", path=path) from error
    return Piece(origin, rows, names, recordings["path"], recordings["bytes"], path.parent)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _check_growth(path: Path) -> None:
    """
    Refuse a file whose recordings are far larger once they are decompressed, or that repeats one for most rows.

    Raises:
        UnpackedSizeError: The metadata declare larger columns.
        CountError: The metadata declare more rows than the file has bytes.
    """
    metadata, size = pq.read_metadata(path), path.stat().st_size
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = (group.column(number) for group in groups for number in range(group.num_columns))
    declared = sum(max(0, column.total_uncompressed_size) for column in columns)
    if declared > max(ALWAYS_BYTES, MOST_GROWTH * size):
        raise UnpackedSizeError(path=path, factor=MOST_GROWTH)
    # A row has at least the path of a recording and a word.
    if metadata.num_rows > size:
        raise CountError(path=path, items="rows", limit=size)


def _copy_recordings(source: Path, target: Path, column: str) -> None:
    """Write the recordings of a parquet file, and nothing else, so that they can be mapped."""
    with (
        pq.ParquetFile(source, pre_buffer=False) as file,
        pa.OSFile(str(target), "wb") as sink,
        pa.ipc.new_file(sink, _MAPPED) as writer,
    ):
        has_rates = SAMPLING_RATE in file.schema_arrow.names and column != SAMPLING_RATE
        columns = [column, SAMPLING_RATE] if has_rates else [column]
        written, most_bytes = 0, max(ALWAYS_BYTES, MOST_GROWTH * source.stat().st_size)
        for batch in file.iter_batches(_AT_ONCE, columns=columns, use_threads=False):
            rates = pa.chunked_array([batch[SAMPLING_RATE]]) if has_rates else None
            recordings = split_recordings(pa.chunked_array([batch[column]]), rates)
            table = pa.table(recordings, schema=_MAPPED)
            written += table.nbytes
            if written > most_bytes:
                raise UnpackedSizeError(path=source, factor=MOST_GROWTH)
            writer.write_table(table)


def _labels(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the names of classes that `datasets` wrote into the file."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (TypeError, KeyError, ValueError, AttributeError):
        return {}
