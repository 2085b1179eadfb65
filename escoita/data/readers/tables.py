"""Read tables of recordings and transcripts in JSON lines, csv or tsv."""

import csv
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from escoita.data.readers.base import Names, Record, SelectionError, find_columns, selection_error
from escoita.data.rows import Rejected
from escoita.errors import CorpusError
from escoita.recipe.schema import Column


# In a .csv, a field may be quoted, with doubled quotes inside, and may then span lines (RFC 4180). In a .tsv, a quote
# is an ordinary character, as in Common Voice, FLEURS and OpenSLR, where an opening quote often has no end.
DIALECTS: dict[str, dict] = {
    ".csv": {"delimiter": ",", "quoting": csv.QUOTE_MINIMAL},
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}
_QUOTED = re.compile(rb'"[^"]*"')


def read_delimited(file: BinaryIO, suffix: str) -> Iterator[tuple[int, list[str] | str]]:
    """
    Read the records of a table, without blank lines.

    Args:
        file (`BinaryIO`): The file, opened at its start.
        suffix (`str`): The suffix, `.csv` or `.tsv`.

    Returns:
        `Iterator[tuple[int, list[str] | str]]`: The first line of each record, counted from 1, and its fields, or the
        problem of the record as text.
    """
    dialect = DIALECTS[suffix] | ({"delimiter": _separator(file)} if suffix == ".csv" else {})
    lines = _Lines(file)
    records = csv.reader(lines, strict=True, **dialect)
    line = 1
    while True:
        lines.begin_record()
        try:
            fields = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            lines.give_back()
            yield line, f"not a table row ({error})"
        else:
            if lines.damaged:
                lines.give_back()
                yield line, "not UTF-8; save the file as UTF-8"
            elif len(fields) > 1 or any(map(bytes.strip, lines.taken)):
                yield line, fields
        line += len(lines.taken)


def _separator(file: BinaryIO) -> str:
    """Return the separator of a .csv: in countries with decimal commas, spreadsheets write semicolons."""
    start = file.tell()
    header = _QUOTED.sub(b"", file.readline())
    file.seek(start)
    return next((char for char in ",;\t" if char.encode() in header and b'"' not in header), ",")


class _Lines:
    """Iterate over the lines of a file; the lines of an unterminated record, except the first, are read again."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.taken: list[bytes] = []
        self.again: deque[bytes] = deque()
        self.damaged = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else next(self.file)
        self.taken.append(line)
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.damaged = True
            return line.decode(errors="replace")

    def begin_record(self) -> None:
        self.taken.clear()
        self.damaged = False

    def give_back(self) -> None:
        self.again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


JSON_LINES = (".jsonl", ".json")
_UTF8_MARK, _UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_parse = json.JSONDecoder().raw_decode


def read_records(
    path: Path,
    chosen: Mapping[Column, str],
    needed: Sequence[Column] = ("audio", "text"),
    header: Sequence[str] | None = None,
) -> Iterator[Record | Rejected]:
    """
    Read a file that lists recordings, in the format of its suffix.

    Args:
        path (`Path`): The file: .jsonl or .json with one object per line, .csv or .tsv.
        chosen (`Mapping[Column, str]`): The same as in [`~escoita.data.readers.base.find_columns`].
        needed (`Sequence[Column]`, *optional*, defaults to `("audio", "text")`): The same as in `find_columns`.
        header (`Sequence[str]`, *optional*): The names of the columns of a table without a header.

    Returns:
        `Iterator[Record | Rejected]`: The records in their order, with their line numbers.

    Raises:
        CorpusError: The file cannot be read, or a column is not found.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        hint = "set path to the manifest in it, or reader to its layout"
        raise CorpusError("a folder, not a manifest", path=path, hint=hint)
    if suffix not in (*JSON_LINES, *DIALECTS):
        hint = f"use a file that ends with {', '.join((*JSON_LINES, *DIALECTS))}"
        raise CorpusError("unknown format", path=path, hint=hint)
    with _opened(path) as file:
        if suffix in JSON_LINES:
            yield from _objects(file, path, chosen, needed)
        else:
            yield from _table(file, path, suffix, chosen, needed, header)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            start = file.read(len(_UTF8_MARK))
            if start.startswith(_UTF16_MARKS):
                raise CorpusError("UTF-16 cannot be read", path=path, hint="save the file as UTF-8")
            file.seek(len(_UTF8_MARK) if start == _UTF8_MARK else 0)
            yield file
    except OSError as error:
        raise CorpusError(f"cannot be read ({error.strerror})", path=path) from error


def _objects(
    file: BinaryIO, path: Path, chosen: Mapping[Column, str], needed: Sequence[Column]
) -> Iterator[Record | Rejected]:
    source = str(path)
    # Objects may have different keys, but there are few distinct sets of keys.
    known: dict[tuple[str, ...], Names | SelectionError] = {}
    for row, line in enumerate(file, start=1):
        try:
            text = line.decode().strip()
            if not text:
                continue
            fields, end = _parse(text)
            if not isinstance(fields, dict) or end < len(text):
                raise ValueError
        except UnicodeDecodeError:
            yield Rejected(source, row, "", "not UTF-8; save the file as UTF-8")
            continue
        except (ValueError, RecursionError):
            yield Rejected(source, row, "", "not one JSON object")
            continue
        keys = tuple(fields)
        names = known.get(keys)
        if names is None:
            names = known[keys] = _names_of(keys, chosen, needed)
        if isinstance(names, SelectionError):
            yield Rejected(source, row, "", str(names))
        else:
            yield row, fields, names
    _require_columns(path, known, chosen)


def _names_of(keys: Sequence[str], chosen: Mapping[Column, str], needed: Sequence[Column]) -> Names | SelectionError:
    """Return the names of the columns in an object, which may lack optional columns, or the error."""
    present = {ours: name if name in keys or ours in needed else "" for ours, name in chosen.items()}
    try:
        return find_columns(keys, present, needed)
    except SelectionError as error:
        return error


def _require_columns(
    path: Path, known: Mapping[tuple[str, ...], Names | SelectionError], chosen: Mapping[Column, str]
) -> None:
    """Raise if no object has a column that the recipe names, or none has all required columns."""
    errors = [names for names in known.values() if isinstance(names, SelectionError)]
    for ours, name in chosen.items():
        if known and name and not any(name in keys for keys in known):
            keys = dict.fromkeys(key for keys in known for key in keys)
            raise selection_error("not found in any row", list(keys), path, f"columns.{ours}", name)
    if known and len(errors) == len(known):
        errors[0].path = path
        raise errors[0]


def _table(
    file: BinaryIO,
    path: Path,
    suffix: str,
    chosen: Mapping[Column, str],
    needed: Sequence[Column],
    header: Sequence[str] | None,
) -> Iterator[Record | Rejected]:
    source = str(path)
    records = read_delimited(file, suffix)
    if header is None:
        line, header = next(records, (0, []))
        if isinstance(header, str):
            raise CorpusError(f"the header is {header}", path=path, row=line)
        if not header:
            return
    try:
        names = find_columns(header, chosen, needed)
    except SelectionError as error:
        error.path = path
        raise
    for row, fields in records:
        if isinstance(fields, str):
            yield Rejected(source, row, "", fields)
        elif len(fields) != len(header):
            yield Rejected(source, row, "", f"{len(fields)} fields instead of {len(header)}")
        else:
            yield row, dict(zip(header, fields, strict=True)), names
