"""Define the row schema of all corpora, stored in Arrow: a million rows take megabytes, and no audio is read."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
# Rows that are converted to Python together: enough to be fast, few enough for embedded clips.
_AT_ONCE = 1024
# Rows that are collected together, and blocks of them that are joined: many small arrays waste memory.
_BLOCK = 4096
_JOINED = 64
# A speaker id of at least this many characters does not occur in the id of a clip by chance.
_CERTAIN = 6


@dataclass(frozen=True, slots=True)
class Utterance:
    """
    Represent one recording and its transcript.

    Args:
        id (`str`): The id, unique within the corpus.
        audio (`str`): The path of the recording, or the name of an embedded one.
        text (`str`): The transcript as it is in the corpus.
        corpus (`str`): The name of the corpus.
        language (`str`): The BCP 47 tag.
        source (`str`): The file or dataset that contains the row.
        row (`int`): The line or row there, counted from 1.
        split (`str`): The split of the corpus, empty if it has none.
        speaker (`str`): The id of the speaker, empty if unknown.
        gender (`str`): The gender, `female`, `male` or another value of the corpus, empty if unknown.
        accent (`str`): The accent, empty if unknown.
        offset (`float`, *optional*): The start of the segment in the recording, in seconds; `None` for the complete
            recording.
        duration (`float`, *optional*): The length of the segment if there is an offset, in seconds; else the length
            that the corpus claims, which is not used for decoding.
        embedded (`bytes`, *optional*): The encoded recording, if it is not in a file.
        audio_seconds (`float`): The measured length; 0 until the clip is checked.
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
    """
    Represent a row that cannot be used.

    Args:
        source (`str`): The file or dataset that contains the row.
        row (`int`): The line or row there, counted from 1.
        audio (`str`): The path of the recording; empty if the row has none.
        reason (`str`): The reason.
        similar (`str`, *optional*, defaults to `""`): A file below the folder of `source` that is probably the missing
            recording.
    """

    source: str
    row: int
    audio: str
    reason: str
    similar: str = ""

    def __str__(self) -> str:
        there = f"; the file is there as {self.similar}" if self.similar else ""
        return visible(f"{self.source}:{self.row}: {self.audio or 'row'}: {self.reason}{there}")

    def public(self) -> str:
        """Return the text without folders of this machine, for records."""
        source, audio, similar = map(public_name, (self.source, self.audio, self.similar))
        return str(replace(self, source=source, audio=audio, similar=similar))


def rejected_by_reason(rejected: Iterable[Rejected]) -> list[list[Rejected]]:
    """Return rejected rows by reason, the most frequent first; reasons that differ in their numbers only are one."""
    kinds: dict[str, list[Rejected]] = {}
    for row in rejected:
        kinds.setdefault(re.sub(r"\d+(\.\d+)?", "#", row.reason), []).append(row)
    return sorted(kinds.values(), key=len, reverse=True)


class Utterances(Sequence[Utterance]):
    """
    Store rows in Arrow, with an order; an [`Utterance`] is made on access.

    A selection of rows is another order over the same table: embedded recordings may be larger than memory, are
    mapped from a file, and are never copied.

    Args:
        table (`pa.Table`): The table with the columns of `SCHEMA`.
        order (`np.ndarray`, *optional*): The indices into the table. The default is all rows in their order.
    """

    def __init__(self, table: pa.Table, order: np.ndarray | None = None):
        self.table = table
        self.order = np.arange(table.num_rows) if order is None else order

    @classmethod
    def of(cls, rows: Iterable[Utterance]) -> Self:
        """Collect rows."""
        return cls.of_values(map(attrgetter(*SCHEMA.names), rows))

    @classmethod
    def of_values(cls, rows: Iterable[tuple[Any, ...]]) -> Self:
        """Collect rows that are given as values in the order of `SCHEMA`; few of them are in Python at a time."""
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
            # Released, so that it is not in memory twice while the next column is joined.
            piece.clear()
        return cls(pa.table(joined, schema=SCHEMA))

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """
        Make rows of a table.

        Args:
            table (`pa.Table`): The table with any of the columns of `SCHEMA`; missing text becomes empty.
        """
        columns = {}
        for field in SCHEMA:
            column = table[field.name] if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
            if field.name != "embedded":
                # One array, as each selection from several would join them.
                column = column.cast(field.type)
                column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            default = {pa.string(): "", pa.int64(): 0}.get(field.type, 0.0 if field.name == "audio_seconds" else None)
            columns[field.name] = column if default is None else pc.fill_null(column, default)
        return cls(pa.table(columns, schema=SCHEMA))

    @classmethod
    def concatenated(cls, parts: Sequence["Utterances"]) -> Self:
        """Return the rows of all parts, one part after the other."""
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
        # Not by `take`, which joins all arrays of a column first.
        columns["embedded"] = (
            [None] * len(indices)
            if embedded.null_count == len(embedded)
            else (embedded[index].as_py() for index in indices.tolist())
        )
        for values in zip(*columns.values(), strict=True):
            yield Utterance(**dict(zip(columns, values, strict=True)))

    def column(self, name: str) -> list[Any]:
        """Return a column as Python values."""
        return self.table[name].take(pa.array(self.order)).to_pylist()

    def each(self, name: str) -> Iterator[Any]:
        """Yield a column as Python values, of which few are in memory at a time."""
        for start in range(0, len(self), 2 * _AT_ONCE):
            yield from self[start : start + 2 * _AT_ONCE].column(name)

    def take(self, indices: Sequence[int] | np.ndarray) -> "Utterances":
        """Return the rows at `indices`, in their order; a row may occur more than once."""
        return Utterances(self.table, self.order[np.asarray(indices, np.int64)])

    def where(self, mask: Sequence[bool] | np.ndarray) -> "Utterances":
        """Return the rows for which `mask` is true."""
        return Utterances(self.table, self.order[np.asarray(mask, bool)])

    def with_audio_seconds(self, seconds: Sequence[float] | np.ndarray) -> "Utterances":
        """Return the same rows with their measured lengths, in seconds."""
        lengths = self.table["audio_seconds"].to_numpy().copy()
        lengths[self.order] = seconds
        return Utterances(self._replaced("audio_seconds", pa.array(lengths)), self.order)

    def with_texts(self, texts: Mapping[int, str]) -> "Utterances":
        """Return the same rows with other transcripts, by the index of their row."""
        column = self.table["text"].to_pylist()
        for index, text in texts.items():
            column[self.order[index]] = text
        return Utterances(self._replaced("text", pa.array(column, pa.string())), self.order)

    def with_unique_ids(self) -> "Utterances":
        """Return the same rows; the number of the row in the table is appended to an id that occurs more than once."""
        ids = numbered = self.table["id"].combine_chunks()
        # Repeated if another row already has such an id.
        while len(repeated := _repeated(ids)):
            numbers = pa.array(np.arange(1, len(ids) + 1)).cast(pa.string())
            numbered = pc.binary_join_element_wise(numbered, numbers, "#")
            ids = pc.if_else(pc.is_in(ids, value_set=repeated), numbered, ids)
        return Utterances(self._replaced("id", ids), self.order)

    def _replaced(self, name: str, values: pa.Array) -> pa.Table:
        return self.table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), values)


def _repeated(values: pa.Array) -> pa.Array:
    """Return the values that occur more than once."""
    counted = pc.value_counts(values).flatten()
    return counted[0].filter(pc.greater(counted[1], 1))


def batched(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield blocks of `size` rows; the last may be shorter."""
    rows = iter(rows)
    while block := list(islice(rows, size)):
        yield block


def without_speaker(id: str, speaker: str, replacement: str) -> str:
    """Return the id of a clip in which the speaker is replaced; see `public_ids`."""
    if not speaker or speaker.lower() not in id.lower():
        return id
    name = re.escape(speaker)
    if len(speaker) < _CERTAIN:
        name = f"(?<!{_continuation(speaker[0])}){name}(?!{_continuation(speaker[-1])})"
    return re.sub(name, lambda _: replacement, id, flags=re.IGNORECASE)


def _continuation(character: str) -> str:
    """Return a pattern of the characters that would continue a name that begins or ends with this one."""
    return r"\d" if character.isdigit() else r"[^\W\d_]" if character.isalpha() else r"(?!)"
