"""Read tables that contain recordings, and recordings in tar archives."""

import gzip
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from escoita.data.clips import kept
from escoita.data.readers.base import Names, Origin, Record, Values, collect, find_columns, validated_rows
from escoita.data.rows import SCHEMA, Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Column


AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".webm")
# Recordings hardly pack: what grows by more than this, and to more bytes than that, was made to fill the disk.
MOST_GROWTH = 100
ALWAYS_BYTES = 256 << 20
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)


def unpacked(archive: Path) -> Path:
    """
    The folder into which the recordings of a tar archive are unpacked, in the folder `archives` of the cache.

    Only regular files that are recordings by their suffix are made; what else there is, links too, is left out.

    Args:
        archive (`Path`): Compressed or not.

    Raises:
        CorpusError: It cannot be read whole, a name in it leads out of the folder, or it unpacks to far more than it
            is.
    """
    return kept(archive, "archives", _unpack)


def recordings_below(folder: Path) -> dict[str, Path]:
    """The recordings in a folder and its subfolders by their names; of several of one name the first found."""
    found: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(AUDIO_SUFFIXES):
                found.setdefault(name, Path(parent, name))
    return found


def _unpack(archive: Path, folder: Path) -> None:
    # What tarfile's filter "data" asks of a regular file; Python 3.11 has that only since its fourth release.
    folder = folder.absolute()
    folder.mkdir()
    most, bytes_told = max(ALWAYS_BYTES, MOST_GROWTH * archive.stat().st_size), 0
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                bytes_told += member.size + tarfile.BLOCKSIZE
                if bytes_told > most:  # by its header: what is too large is not even begun
                    raise CorpusError(
                        f"{archive}: unpacks to more than {MOST_GROWTH} times its size; recordings do not; left alone"
                    )
                if not member.isreg() or not member.name.lower().endswith(AUDIO_SUFFIXES):
                    continue
                target = folder / member.name
                if ".." in target.parts or not target.is_relative_to(folder):
                    raise CorpusError(f"{archive}: holds {member.name!r}, which leads out of its folder; not unpacked")
                target.parent.mkdir(parents=True, exist_ok=True)
                packed = tar.extractfile(member)
                assert packed is not None  # noqa: S101  (of a regular file it never is)
                with packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file)
    except _DAMAGED as error:
        raise CorpusError(f"{archive}: is not a whole tar archive ({error}); fetch it again") from error


# What a record calls its recording, so that no column can have the name.
_AUDIO = "\0audio"
_ROW = SCHEMA.get_field_index("row")
_AT_ONCE = 1024


@dataclass(frozen=True)
class Piece:
    """
    Rows of one table.

    Args:
        origin ([`Origin`]): Where they come from, without a folder.
        table (`pa.Table`): What is known of the recordings.
        names ([`Names`]): What its columns are called.
        paths (`pa.ChunkedArray`): A name or a path of each recording, where it has one.
        embedded (`pa.ChunkedArray`): The encoded recordings, where the table holds them.
        folder (`Path`, *optional*): What the path of a recording that the table does not hold is relative to; unless
            given none is followed.
        first (`int`, *optional*, defaults to 1): Number of its first row.
    """

    origin: Origin
    table: pa.Table
    names: Names
    paths: pa.ChunkedArray
    embedded: pa.ChunkedArray
    folder: Path | None = None
    first: int = 1


def find_table_columns(
    schema: pa.Schema, chosen: Mapping[Column, str], needed: tuple[Column, ...] = ("text",)
) -> tuple[str, Names]:
    """
    Finds the column of the recordings, by its type before its name, and what the others are called.

    Args:
        schema (`pa.Schema`): Of the table.
        chosen (`Mapping[Column, str]`): See [`~escoita.data.readers.base.find_columns`].
        needed (`tuple[Column, ...]`, *optional*, defaults to `("text",)`): The same.

    Returns:
        `tuple[str, Names]`: The column of the recordings, a struct of `bytes` and `path` as the Hub writes it, binary,
        or text that names files; and the names for the other columns.

    Raises:
        LookupError: There is none, or several.
    """
    audio = chosen.get("audio") or _only(schema, _is_audio) or _only(schema, _is_binary)
    if not audio or audio not in schema.names:
        audio = find_columns(schema.names, chosen, ("audio",)).audio or ""
    others = [name for name in schema.names if name != audio]
    return audio, find_columns(others, {**chosen, "audio": ""}, needed)._replace(audio=_AUDIO)


def split_recordings(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Paths and encoded recordings of a column, without a copy; null where there are none."""
    kind, nothing = column.type, pa.nulls(len(column))
    if pa.types.is_struct(kind):
        fields = {kind.field(index).name: part for index, part in enumerate(column.flatten())}
        paths, embedded = fields.get("path", nothing), fields.get("bytes", nothing)
    else:
        paths, embedded = (nothing, column) if _is_binary(kind) else (column, nothing)
    return _as(paths, pa.string()), _as(embedded, pa.binary())


def with_labels(table: pa.Table, labels: Mapping[str, list[str]]) -> pa.Table:
    """The same table with the names of classes in place of their numbers, and nothing in place of NaN."""
    for index, field in enumerate(table.schema):
        column = table[index]
        if field.name in labels and pa.types.is_integer(field.type):
            known = pc.if_else(pc.greater_equal(column, 0), column, None)
            table = table.set_column(index, field.name, pa.array(labels[field.name], pa.string()).take(known))
        elif pa.types.is_floating(field.type):
            table = table.set_column(index, field.name, pc.if_else(pc.is_nan(column), None, column))
    return table


def collect_pieces(
    pieces: Iterable[Piece], split: str | None = None, limit: int | None = None, seen: set[str] | None = None
) -> tuple[Utterances, list[Rejected]]:
    """
    Judges the rows of tables, and puts the recordings beside the usable ones without a copy.

    Args:
        pieces (`Iterable[Piece]`): In their order; one after a limit is not asked for.
        split (`str`, *optional*): Only rows whose column of the split says so; all unless given.
        limit (`int`, *optional*): Rows that are read; all unless given.
        seen (`set[str]`, *optional*): Takes the splits that are met, where one is asked for.

    Returns:
        `tuple[Utterances, list[Rejected]]`: As [`~escoita.data.readers.base.collect`] gives them.
    """
    kept: list[tuple[Piece, list[int]]] = []

    def rows() -> Iterator[Values | Rejected]:
        for piece in pieces:
            kept.append((piece, []))
            for values in validated_rows(_records(piece), piece.origin, split, seen):
                if not isinstance(values, Rejected):
                    kept[-1][1].append(values[_ROW] - piece.first)
                yield values

    utterances, rejected = collect(rows(), limit)
    recordings = [chunk for piece, indices in kept for chunk in _runs(piece.embedded, np.array(indices, np.int64))]
    column = SCHEMA.get_field_index("embedded")
    table = utterances.table.set_column(column, SCHEMA.field(column), pa.chunked_array(recordings, pa.binary()))
    return Utterances(table), rejected


def _records(piece: Piece) -> Iterator[Record | Rejected]:
    table = piece.table.select([name for name in dict.fromkeys(piece.names) if name and name != _AUDIO])
    for start in range(0, len(piece.paths), _AT_ONCE):
        held = piece.embedded.slice(start, _AT_ONCE).is_valid().to_pylist()
        paths = piece.paths.slice(start, _AT_ONCE).to_pylist()
        rows = table.slice(start, _AT_ONCE).to_pylist()
        for row, (holds, path, fields) in enumerate(zip(held, paths, rows, strict=True), start=start + piece.first):
            if holds:
                yield row, {**fields, _AUDIO: path or f"row {row}"}, piece.names
            elif path and piece.folder:
                yield row, {**fields, _AUDIO: str(piece.folder / path)}, piece.names
            else:
                yield Rejected(piece.origin.source, row, path or "", "the row does not hold the recording")


def _runs(recordings: pa.ChunkedArray, indices: np.ndarray) -> Iterator[pa.Array]:
    """Slices of the column that hold the indices, which ascend; a slice is no copy, as a selection would be."""
    ends = np.flatnonzero(np.diff(indices) != 1) + 1
    for run in np.split(indices, ends) if len(indices) else []:
        yield from recordings.slice(run[0], len(run)).chunks


def _only(schema: pa.Schema, fits: Callable[[pa.DataType], bool]) -> str | None:
    matches = [field.name for field in schema if fits(field.type)]
    if len(matches) > 1:
        raise LookupError(f"has several columns of recordings; set columns.audio to one of {', '.join(matches)}")
    return matches[0] if matches else None


def _is_audio(kind: pa.DataType) -> bool:
    fields = {kind.field(index).name: kind.field(index).type for index in range(kind.num_fields)}
    return pa.types.is_struct(kind) and "bytes" in fields and _is_binary(fields["bytes"])


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _as(column: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.ChunkedArray:
    column = column if column.type == kind else column.cast(kind)
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
