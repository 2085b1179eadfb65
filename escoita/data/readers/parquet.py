"""Parquet files that hold recordings, as the Hub keeps them."""

import glob
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from escoita.data.clips import kept
from escoita.data.readers.base import Origin, asked_split, refuse_absent
from escoita.data.readers.recordings import Piece, collect_pieces, find_table_columns, split_recordings, with_labels
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Column, Corpus


# test-00000-of-00001.parquet, test.parquet, test/0000.parquet
_SPLITS = ("train", "validation", "valid", "dev", "test")
_MAPPED = pa.schema([("path", pa.string()), ("bytes", pa.binary())])
# Recordings in memory together while a file is mapped.
_AT_ONCE = 64


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Reads parquet files: one, all in a folder and its subfolders, or those of a pattern such as `data/test-*.parquet`.

    The recordings are found by the type of their column: a struct of `bytes` and `path`, as the Hub writes audio, or
    binary; a column of text names files, relative to the parquet file, as does a `path` without `bytes`. They are
    never in memory together: each file's are written once, as they are, into an Arrow file in the folder `recordings`
    of the cache (`$ESCOITA_CACHE`), and mapped from there. That takes as much disk again.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): `split` takes the files whose name or folder says so
            (`test-00000-of-00001.parquet`, `test/0000.parquet`), or else the rows whose column of the split does.
        language (`str`): Of rows that name none.

    Raises:
        CorpusError: There is no such file, the split is not named or not there, or columns are not known.
    """
    files = _files(corpus.path)
    by_split = _by_split(corpus, files)
    if by_split and "split" not in corpus.columns and (corpus.split or len(by_split) > 1):
        split = asked_split(corpus, by_split)
        return read_files(by_split[split], corpus, language, corpus.columns, split)
    return read_files(files, corpus, language, corpus.columns)


def read_files(
    files: Sequence[Path], corpus: Corpus, language: str, chosen: Mapping[Column, str], split: str | None = None
) -> tuple[Utterances, list[Rejected]]:
    """
    Reads the rows of parquet files.

    Args:
        files (`Sequence[Path]`): In their order.
        corpus ([`~escoita.recipe.schema.Corpus`]): Which they are of.
        language (`str`): Of rows that name none.
        chosen (`Mapping[Column, str]`): See [`~escoita.data.readers.base.find_columns`].
        split (`str`, *optional*): Which all their rows are of; a column tells unless given.

    Raises:
        CorpusError: A file cannot be read, or its columns are not known.
    """
    asked = corpus.split if split is None else None
    pieces = (_piece(path, Origin.of(corpus, language, path, Path(), split or ""), chosen, asked) for path in files)
    seen: set[str] = set()
    rows, rejected = collect_pieces(pieces, asked, corpus.limit, seen)
    refuse_absent(corpus, seen)
    return rows, rejected


def _files(path: str) -> list[Path]:
    if Path(path).is_dir():
        files = sorted(Path(path).rglob("*.parquet"))
    else:
        files = [Path(path)] if Path(path).is_file() else sorted(map(Path, glob.glob(path, recursive=True)))
    if not files:
        raise CorpusError(f"{path}: there is no parquet file")
    return files


def _by_split(corpus: Corpus, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files by the split that their name, or else their folder, tells; those that tell none are left out."""
    known: dict[str, list[Path]] = {}
    for path in files:
        names = path.stem, re.sub(r"-\d+-of-\d+.*", "", path.stem), path.parent.name
        if told := [name for name in names if name in (*_SPLITS, corpus.split)]:
            known.setdefault(told[0], []).append(path)
    return known


def _piece(path: Path, origin: Origin, chosen: Mapping[Column, str], split: str | None) -> Piece:
    try:
        schema = pq.read_schema(path)
        audio, names = find_table_columns(schema, chosen, ("text", "split") if split else ("text",))
        table = pq.read_table(path, columns=[name for name in dict.fromkeys(names) if name in schema.names])
        mapped = pa.memory_map(str(kept(path, "recordings", partial(_map, column=audio), audio)))
        recordings = pa.ipc.open_file(mapped).read_all()
        for told in (table, recordings):
            told.validate(full=True)  # reading does not: a text need not be UTF-8
        rows = with_labels(table, _labels(schema))
    except LookupError as error:
        raise CorpusError(f"{path}: {error}") from error
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(
            f"{path}: is not a parquet file that can be read ({' '.join(str(error).split())})"
        ) from error
    return Piece(origin, rows, names, recordings["path"], recordings["bytes"], path.parent)


def _map(source: Path, target: Path, column: str) -> None:
    """Writes the recordings of a parquet file, and nothing else, so that they can be mapped."""
    with (
        pq.ParquetFile(source, pre_buffer=False) as file,
        pa.OSFile(str(target), "wb") as sink,
        pa.ipc.new_file(sink, _MAPPED) as writer,
    ):
        for batch in file.iter_batches(_AT_ONCE, columns=[column], use_threads=False):
            writer.write_table(pa.table(split_recordings(pa.chunked_array([batch.column(0)])), schema=_MAPPED))


def _labels(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of classes, where `datasets` wrote them into the file."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (TypeError, KeyError, ValueError, AttributeError):
        return {}
