"""Read tables that contain recordings, and recordings in tar archives."""

import gzip
import io
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile

from escoita.data.clips import cached_copy
from escoita.data.readers.base import (
    Names,
    Origin,
    Record,
    Values,
    collect,
    find_columns,
    selection_error,
    validated_rows,
)
from escoita.data.rows import SCHEMA, Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Column


AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".webm")
# Recordings can hardly be compressed: an archive that grows by this factor, and to more bytes, is made to fill disks.
MOST_GROWTH = 100
ALWAYS_BYTES = 256 << 20
MOST_MEMBERS = 2_000_000
# Members that hold the attributes or the long name of the next one; names have a few hundred bytes.
_HEADERS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
_HEADER_BYTES = 1 << 20
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)


class UnpackedSizeError(CorpusError):
    """
    Report an archive that is far larger when it is unpacked, as recordings are not.

    Args:
        factor (`int`): The largest accepted ratio of unpacked to packed size.
    """

    problem = "unpacks to more than {factor} times its size, which recordings do not; not unpacked"
    factor: int


class CountError(CorpusError):
    """
    Report an archive or a table with more members or rows than recordings could be.

    Args:
        items (`str`): The name of the things that are counted.
        limit (`int`): The largest accepted number.
    """

    problem = "contains more than {limit:,} {items}, which recordings do not; not unpacked"
    items: str
    limit: int


class MemberPathError(CorpusError):
    """
    Report an archive that contains a path outside of its folder.

    Args:
        member (`str`): The path of the member.
    """

    problem = "contains the path {member!r} outside of its folder; not unpacked"
    member: str


class LimitedMember(tarfile.TarInfo):
    """Represent a member of an archive; a header that tarfile would read into memory has a limited size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the member of a header; raise a `ReadError` if its name or attributes are too long."""
        member = super().frombuf(buf, encoding, errors)
        if member.type in _HEADERS and member.size > _HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {member.size:,} bytes")
        return member


def unpacked(archive: Path, suffixes: tuple[str, ...] = AUDIO_SUFFIXES) -> Path:
    """
    Unpack the recordings of a tar archive into the folder `archives` of the cache, and return the folder.

    Only regular files with one of the suffixes are written; other members, such as links, are skipped.

    Args:
        archive (`Path`): The archive, compressed or not.
        suffixes (`tuple[str, ...]`, *optional*): The suffixes of the files. The default is those of recordings.

    Raises:
        CorpusError: The archive is incomplete, contains a path outside of its folder, or is far larger when unpacked.
    """
    part = "" if suffixes == AUDIO_SUFFIXES else ",".join(suffixes)
    return cached_copy(archive, "archives", partial(_unpack, suffixes=suffixes), part)


def recordings_below(folder: Path) -> dict[str, Path]:
    """Return the recordings in a folder and its subfolders by name; of several with one name, the first."""
    found: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(AUDIO_SUFFIXES):
                found.setdefault(name, Path(parent, name))
    return found


def _unpack(archive: Path, folder: Path, suffixes: tuple[str, ...]) -> None:
    # The same checks as those of tarfile's filter "data", which Python 3.11 has only since 3.11.4.
    folder = folder.absolute()
    folder.mkdir()

    def write(tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if not member.isreg() or not member.name.lower().endswith(suffixes):
            return
        target = folder / member.name
        if ".." in target.parts or "\0" in member.name or not target.is_relative_to(folder):
            raise MemberPathError(path=archive, member=member.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        packed = tar.extractfile(member)
        assert packed is not None  # noqa: S101  (it is never None for a regular file)
        with packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file)

    read_members(archive, write)


def read_members(archive: Path, use: Callable[[tarfile.TarFile, tarfile.TarInfo], None]) -> None:
    """
    Call a function with each member of a tar archive, within limits; no member is kept in memory.

    Args:
        archive (`Path`): The archive, compressed or not.
        use (`Callable`): The function, which gets the open archive and the member.

    Raises:
        CorpusError: The archive is damaged, has too many members, or is far larger when unpacked.
    """
    max_bytes, declared_bytes, count = max(ALWAYS_BYTES, MOST_GROWTH * archive.stat().st_size), 0, 0
    try:
        with tarfile.open(archive, tarinfo=LimitedMember) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # the documentation of tarfile names it
                count += 1
                declared_bytes += member.size + tarfile.BLOCKSIZE
                if count > MOST_MEMBERS:
                    raise CountError(path=archive, items="members", limit=MOST_MEMBERS)
                if declared_bytes > max_bytes:  # known before the member is unpacked
                    raise UnpackedSizeError(path=archive, factor=MOST_GROWTH)
                if member.size < 0:
                    raise tarfile.ReadError("a member of negative size")
                use(tar, member)
            # For tarfile, a damaged header is the end of the archive.
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError("a damaged header")
    # ValueError: the map of a sparse member does not consist of numbers. OSError: bz2 raises it without a number.
    except (*_DAMAGED, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split())[:200]
        raise CorpusError(f"not a complete tar archive ({reason})", path=archive, hint="download it again") from error


# The column, or the field, of the sampling rates of decoded recordings, as `datasets` names it.
SAMPLING_RATE = "sampling_rate"
MOST_HERTZ = 1_000_000
# The key of the recording in a record; no column can have this name.
_AUDIO = "\0audio"
_ROW = SCHEMA.get_field_index("row")
_AT_ONCE = 1024


@dataclass(frozen=True)
class Piece:
    """
    Represent the rows of one table.

    Args:
        origin ([`Origin`]): The origin of the rows, without a folder.
        table (`pa.Table`): The columns other than the recordings.
        names ([`Names`]): The names of the columns.
        paths (`pa.ChunkedArray`): The name or path of each recording; null if it has none.
        embedded (`pa.ChunkedArray`): The encoded recordings; null for those that are not embedded.
        folder (`Path`, *optional*): The folder that paths of recordings outside of the table are relative to. If it is
            not given, such recordings are not read.
        first (`int`, *optional*, defaults to 1): The number of the first row.
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
    Find the column of the recordings, by type before name, and the names of the other columns.

    Args:
        schema (`pa.Schema`): The schema of the table.
        chosen (`Mapping[Column, str]`): The same as in [`~escoita.data.readers.base.find_columns`].
        needed (`tuple[Column, ...]`, *optional*, defaults to `("text",)`): The same as in `find_columns`.

    Returns:
        `tuple[str, Names]`: The column of the recordings (a struct of `bytes` and `path` as on the Hub, binary,
        decoded samples, or paths as text), and the names of the other columns.

    Raises:
        SelectionError: A column is missing, or several match; without a path.
    """
    audio = chosen.get("audio") or _only(schema, _is_audio) or _only(schema, _is_binary) or _only(schema, _is_decoded)
    if not audio or audio not in schema.names:
        audio = find_columns(schema.names, chosen, ("audio",)).audio or ""
    others = [name for name in schema.names if name != audio]
    return audio, find_columns(others, {**chosen, "audio": ""}, needed)._replace(audio=_AUDIO)


def split_recordings(
    column: pa.ChunkedArray, rates: pa.ChunkedArray | None = None
) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """
    Return the paths and the encoded recordings of a column, without a copy; null if there are none.

    Args:
        column (`pa.ChunkedArray`): The column of the recordings. Decoded samples are encoded as wav files.
        rates (`pa.ChunkedArray`, *optional*): The sampling rate of each recording that is a list of samples.

    Returns:
        `tuple[pa.ChunkedArray, pa.ChunkedArray]`: The paths and the recordings.

    Raises:
        CorpusError: The recordings are lists of samples, and no sampling rates are given.
    """
    kind, nothing = column.type, pa.nulls(len(column))
    if _is_decoded(kind):
        fields = dict(zip(kind.names, column.flatten(), strict=True)) if _is_struct(kind) else {}
        rates = fields.get(SAMPLING_RATE, rates)
        if rates is None:
            raise CorpusError("samples without a sampling rate", hint=f"add a column {SAMPLING_RATE!r}")
        encoded = pa.array(map(_encoded, fields.get("array", column), rates), pa.binary())
        return _as(fields.get("path", nothing), pa.string()), _as(encoded, pa.binary())
    if _is_struct(kind):
        fields = {kind.field(index).name: part for index, part in enumerate(column.flatten())}
        paths, embedded = fields.get("path", nothing), fields.get("bytes", nothing)
    else:
        paths, embedded = (nothing, column) if _is_binary(kind) else (column, nothing)
    return _as(paths, pa.string()), _as(embedded, pa.binary())


def with_labels(table: pa.Table, labels: Mapping[str, list[str]]) -> pa.Table:
    """Replace the numbers of classes by their names, and NaN by null."""
    for index, field in enumerate(table.schema):
        column = table[index]
        if field.name in labels and pa.types.is_integer(field.type):
            indices = pc.if_else(pc.greater_equal(column, 0), column, None)
            table = table.set_column(index, field.name, pa.array(labels[field.name], pa.string()).take(indices))
        elif pa.types.is_floating(field.type):
            table = table.set_column(index, field.name, pc.if_else(pc.is_nan(column), None, column))
    return table


def collect_pieces(
    pieces: Iterable[Piece], split: str | None = None, limit: int | None = None, seen: set[str] | None = None
) -> tuple[Utterances, list[Rejected]]:
    """
    Validate the rows of tables, and add the recordings to the usable rows without a copy.

    Args:
        pieces (`Iterable[Piece]`): The tables in their order; those after the limit are not read.
        split (`str`, *optional*): The split to select by the column of the split. The default is all rows.
        limit (`int`, *optional*): The number of rows to read. The default is all rows.
        seen (`set[str]`, *optional*): The set that receives the splits that occur, if `split` is given.

    Returns:
        `tuple[Utterances, list[Rejected]]`: The same as of [`~escoita.data.readers.base.collect`].
    """
    usable: list[tuple[Piece, list[int]]] = []

    def rows() -> Iterator[Values | Rejected]:
        for piece in pieces:
            usable.append((piece, []))
            for values in validated_rows(_records(piece), piece.origin, split, seen):
                if not isinstance(values, Rejected):
                    usable[-1][1].append(values[_ROW] - piece.first)
                yield values

    utterances, rejected = collect(rows(), limit)
    recordings = [chunk for piece, indices in usable for chunk in _runs(piece.embedded, np.array(indices, np.int64))]
    column = SCHEMA.get_field_index("embedded")
    table = utterances.table.set_column(column, SCHEMA.field(column), pa.chunked_array(recordings, pa.binary()))
    return Utterances(table), rejected


def _records(piece: Piece) -> Iterator[Record | Rejected]:
    table = piece.table.select([name for name in dict.fromkeys(piece.names) if name and name != _AUDIO])
    for start in range(0, len(piece.paths), _AT_ONCE):
        embedded = piece.embedded.slice(start, _AT_ONCE).is_valid().to_pylist()
        paths = piece.paths.slice(start, _AT_ONCE).to_pylist()
        rows = table.slice(start, _AT_ONCE).to_pylist()
        numbered = enumerate(zip(embedded, paths, rows, strict=True), start=start + piece.first)
        for row, (is_embedded, path, fields) in numbered:
            if is_embedded:
                yield row, {**fields, _AUDIO: path or f"row {row}"}, piece.names
            elif path and piece.folder:
                yield row, {**fields, _AUDIO: str(piece.folder / path)}, piece.names
            else:
                yield Rejected(piece.origin.source, row, path or "", "the row does not contain the recording")


def _runs(recordings: pa.ChunkedArray, indices: np.ndarray) -> Iterator[pa.Array]:
    """Yield slices of the column at ascending indices; unlike a selection, a slice is not a copy."""
    ends = np.flatnonzero(np.diff(indices) != 1) + 1
    for run in np.split(indices, ends) if len(indices) else []:
        yield from recordings.slice(run[0], len(run)).chunks


def _only(schema: pa.Schema, fits: Callable[[pa.DataType], bool]) -> str | None:
    matches = [field.name for field in schema if fits(field.type)]
    if len(matches) > 1:
        raise selection_error("several columns contain recordings", matches, key="columns.audio")
    return matches[0] if matches else None


def _is_audio(kind: pa.DataType) -> bool:
    fields = {kind.field(index).name: kind.field(index).type for index in range(kind.num_fields)}
    return pa.types.is_struct(kind) and "bytes" in fields and _is_binary(fields["bytes"])


def _is_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind)


def _is_decoded(kind: pa.DataType) -> bool:
    """Return whether the type is a list of numbers, or a struct of one as `array` and of its `sampling_rate`."""
    if _is_struct(kind):
        fields = {kind.field(index).name: kind.field(index).type for index in range(kind.num_fields)}
        return {"array", SAMPLING_RATE} <= fields.keys() and _is_decoded(fields["array"])
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return is_list and pa.types.is_floating(kind.value_type)


def _encoded(samples: pa.Scalar, rate: pa.Scalar) -> bytes | None:
    """Return samples as a wav file of floating-point numbers; `None` if they or their rate are missing."""
    hertz = rate.as_py()
    if not samples.is_valid or hertz is None or not 1 <= hertz <= MOST_HERTZ or hertz != int(hertz):
        return None
    file = io.BytesIO()
    values = samples.values.to_numpy(zero_copy_only=False).astype(np.float32)
    soundfile.write(file, values, int(hertz), format="WAV", subtype="FLOAT")
    return file.getvalue()


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _as(column: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.ChunkedArray:
    column = column if column.type == kind else column.cast(kind)
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
