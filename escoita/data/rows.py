"""One shape of row for every corpus, held in Arrow: a million rows cost megabytes, and no audio is touched."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter
from typing import Any, Self, TypeVar, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from escoita.utils.files import public_name
from escoita.utils.formatting import visible


T = TypeVar("T")
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("audio", pa.string()),
        ("text", pa.string()),
        ("corpus", pa.string()),
        ("language", pa.string()),
        ("source", pa.string()),
        ("row", pa.int64()),
        ("split", pa.string()),
        ("speaker", pa.string()),
        ("gender", pa.string()),
        ("accent", pa.string()),
        ("offset", pa.float64()),
        ("duration", pa.float64()),
        ("embedded", pa.binary()),
        ("audio_seconds", pa.float64()),
    ]
)
_PLAIN = [name for name in SCHEMA.names if name != "embedded"]
# Rows turned into Python at once: enough to be fast, few enough for clips that are embedded.
_AT_ONCE = 1024
# Rows that are collected at once, and blocks of them that are joined: an allocator wastes much on many small arrays.
_BLOCK = 4096
_JOINED = 64
# A speaker's id of so many characters stands in the id of a clip by no accident, whatever is beside it.
_CERTAIN = 6


@dataclass(frozen=True, slots=True)
class Utterance:
    """
    One recording and what is said in it.

    Args:
        id (`str`): Unique within the corpus.
        audio (`str`): Path of the recording; of one that is embedded, the name it goes by.
        text (`str`): The transcript, as the corpus has it.
        corpus (`str`): Name of the corpus.
        language (`str`): ISO code, lower case.
        source (`str`): The file or dataset that names it.
        row (`int`): Its line or row there, counted from 1.
        split (`str`): Part of the corpus, empty where it has none.
        speaker (`str`): Who speaks, empty where unknown.
        gender (`str`): `female`, `male` or what else the corpus has, empty where unknown.
        accent (`str`): The same.
        offset (`float`, *optional*): Where in the recording it begins, in seconds; the whole recording unless given.
        duration (`float`, *optional*): With an offset, how long the part is, in seconds; else the length that the
            corpus claims, which decides nothing.
        embedded (`bytes`, *optional*): The encoded recording itself, where no file holds it.
        audio_seconds (`float`): Measured length; 0 until the clip is checked.
    """

    id: str
    audio: str
    text: str
    corpus: str
    language: str
    source: str
    row: int
    split: str = ""
    speaker: str = ""
    gender: str = ""
    accent: str = ""
    offset: float | None = None
    duration: float | None = None
    embedded: bytes | None = None
    audio_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used: which source, which line, which file and why."""

    source: str
    row: int
    audio: str
    reason: str

    def __str__(self) -> str:
        return visible(f"{self.source}:{self.row}: {self.audio or 'row'}: {self.reason}")

    def public(self) -> str:
        """The same without folders of this machine, for records."""
        return str(replace(self, source=public_name(self.source), audio=public_name(self.audio)))


class Utterances(Sequence[Utterance]):
    """
    Rows in Arrow, and an order in which they are seen; an [`Utterance`] is made when it is looked at.

    Selecting rows makes another order over the same table: recordings that are embedded may be larger than memory,
    mapped from a file, and are never copied.

    Args:
        table (`pa.Table`): With the columns of `SCHEMA`.
        order (`np.ndarray`, *optional*): Indices into the table; all rows as they stand unless given.
    """

    def __init__(self, table: pa.Table, order: np.ndarray | None = None):
        self.table = table
        self.order = np.arange(table.num_rows) if order is None else order

    @classmethod
    def of(cls, rows: Iterable[Utterance]) -> Self:
        """Collects rows."""
        return cls.of_values(map(attrgetter(*SCHEMA.names), rows))

    @classmethod
    def of_values(cls, rows: Iterable[tuple[Any, ...]]) -> Self:
        """Collects rows given as their values in the order of `SCHEMA`, of which few are in Python at once."""
        pieces: list[list[pa.Array]] = [[] for _ in SCHEMA]
        for number, block in enumerate(batched(rows, _BLOCK), start=1):
            for piece, column, kind in zip(pieces, zip(*block, strict=True), SCHEMA.types, strict=True):
                piece.append(pa.array(column, kind))
                if number % _JOINED == 0:
                    piece[-_JOINED:] = [pa.concat_arrays(piece[-_JOINED:])]
        joined = {}
        for piece, field in zip(pieces, SCHEMA, strict=True):
            if field.name != "embedded" and piece:
                piece[:] = [pa.concat_arrays(piece)]
            joined[field.name] = pa.chunked_array(piece, field.type)
            # Not in memory twice while the next column is joined.
            piece.clear()
        return cls(pa.table(joined, schema=SCHEMA))

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """
        Takes a table as it is.

        Args:
            table (`pa.Table`): Any of the columns of `SCHEMA`; text that is missing becomes empty.
        """
        columns = {}
        for field in SCHEMA:
            column = table[field.name] if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
            if field.name != "embedded":
                # In one piece, as selecting from many pieces would join them each time.
                column = column.cast(field.type)
                column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            default = {pa.string(): "", pa.int64(): 0}.get(field.type, 0.0 if field.name == "audio_seconds" else None)
            columns[field.name] = column if default is None else pc.fill_null(column, default)
        return cls(pa.table(columns, schema=SCHEMA))

    @classmethod
    def concatenated(cls, parts: Sequence["Utterances"]) -> Self:
        """One after the other."""
        starts = np.cumsum([0, *(part.table.num_rows for part in parts)])
        orders = [part.order + start for part, start in zip(parts, starts, strict=False)]
        table = cls.from_table(pa.concat_tables([SCHEMA.empty_table(), *(part.table for part in parts)])).table
        return cls(table, np.concatenate([np.zeros(0, np.int64), *orders]))

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Utterance]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self._rows(self.order[start : start + _AT_ONCE])

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> "Utterances": ...
    def __getitem__(self, index: int | slice) -> "Utterance | Utterances":
        if isinstance(index, slice):
            return Utterances(self.table, self.order[index])
        return next(self._rows(self.order[[index]]))

    def _rows(self, indices: np.ndarray) -> Iterator[Utterance]:
        columns = self.table.select(_PLAIN).take(pa.array(indices)).to_pydict()
        embedded = self.table["embedded"]
        # Never by `take`, which joins all pieces of a column before it looks into them.
        columns["embedded"] = (
            [None] * len(indices)
            if embedded.null_count == len(embedded)
            else (embedded[index].as_py() for index in indices.tolist())
        )
        for values in zip(*columns.values(), strict=True):
            yield Utterance(**dict(zip(columns, values, strict=True)))

    def column(self, name: str) -> list[Any]:
        """One column as Python values."""
        return self.table[name].take(pa.array(self.order)).to_pylist()

    def each(self, name: str) -> Iterator[Any]:
        """One column as Python values, few of them in memory at once."""
        for start in range(0, len(self), 2 * _AT_ONCE):
            yield from self[start : start + 2 * _AT_ONCE].column(name)

    def take(self, indices: Sequence[int] | np.ndarray) -> "Utterances":
        """The rows at `indices`, in their order; one may come twice."""
        return Utterances(self.table, self.order[np.asarray(indices, np.int64)])

    def where(self, mask: Sequence[bool] | np.ndarray) -> "Utterances":
        """The rows for which `mask` is true."""
        return Utterances(self.table, self.order[np.asarray(mask, bool)])

    def with_audio_seconds(self, seconds: Sequence[float] | np.ndarray) -> "Utterances":
        """The same rows with their measured lengths, in seconds."""
        lengths = self.table["audio_seconds"].to_numpy().copy()
        lengths[self.order] = seconds
        return Utterances(self._replaced("audio_seconds", pa.array(lengths)), self.order)

    def with_unique_ids(self) -> "Utterances":
        """The same rows; an id that several have gets its place in the table behind it in each."""
        ids = numbered = self.table["id"].combine_chunks()
        # Again where a row was called like that before.
        while len(repeated := _repeated(ids)):
            places = pa.array(np.arange(1, len(ids) + 1)).cast(pa.string())
            numbered = pc.binary_join_element_wise(numbered, places, "#")
            ids = pc.if_else(pc.is_in(ids, value_set=repeated), numbered, ids)
        return Utterances(self._replaced("id", ids), self.order)

    def _replaced(self, name: str, values: pa.Array) -> pa.Table:
        return self.table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), values)


def _repeated(values: pa.Array) -> pa.Array:
    """The values that come more than once."""
    counted = pc.value_counts(values).flatten()
    return counted[0].filter(pc.greater(counted[1], 1))


def batched(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Blocks of `size` rows; the last may be shorter."""
    rows = iter(rows)
    while block := list(islice(rows, size)):
        yield block


def without_speaker(id: str, speaker: str, instead: str) -> str:
    """The id of a clip with something else in the place of who speaks, as [`public_ids`] says."""
    if not speaker or speaker.lower() not in id.lower():
        return id
    name = re.escape(speaker)
    if len(speaker) < _CERTAIN:
        name = f"(?<!{_like(speaker[0])}){name}(?!{_like(speaker[-1])})"
    return re.sub(name, lambda _: instead, id, flags=re.IGNORECASE)


def _like(character: str) -> str:
    """A pattern of the characters that would go on what begins or ends with this one."""
    return r"\d" if character.isdigit() else r"[^\W\d_]" if character.isalpha() else r"(?!)"
