"""Read tables of recordings and transcripts in JSON lines, csv or tsv."""

import csv
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from escoita.data.readers.base import Names, Record, find_columns
from escoita.data.rows import Rejected
from escoita.errors import CorpusError
from escoita.recipe.schema import Column


# In a .csv a field may stand in quotes, doubled inside, and may then span lines (RFC 4180). In a .tsv a quote is a
# letter like any other, as Common Voice, FLEURS and OpenSLR write them: there an opening quote often has no end.
DIALECTS: dict[str, dict] = {
    ".csv": {"delimiter": ",", "quoting": csv.QUOTE_MINIMAL},
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}
_QUOTED = re.compile(rb'"[^"]*"')


def read_delimited(file: BinaryIO, suffix: str) -> Iterator[tuple[int, list[str] | str]]:
    """
    Reads the records of a table; blank lines are none.

    Args:
        file (`BinaryIO`): Opened at its start.
        suffix (`str`): `.csv` or `.tsv`.

    Returns:
        `Iterator[tuple[int, list[str] | str]]`: The line on which a record begins, counted from 1, and its fields; or
        what is wrong with the record.
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
            yield line, f"not a record of a table ({error})"
        else:
            if lines.damaged:
                lines.give_back()
                yield line, "not UTF-8; save the file as UTF-8"
            elif len(fields) > 1 or any(map(bytes.strip, lines.taken)):
                yield line, fields
        line += len(lines.taken)


def _separator(file: BinaryIO) -> str:
    """What parts the fields of a .csv: in countries whose numbers have commas, spreadsheets write semicolons."""
    start = file.tell()
    header = _QUOTED.sub(b"", file.readline())
    file.seek(start)
    return next((sign for sign in ",;\t" if sign.encode() in header and b'"' not in header), ",")


class _Lines:
    """The lines of a file. What a record without an end has swallowed is given back, but for its first line."""

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
    Reads a file that lists recordings, in the format that its suffix says.

    Args:
        path (`Path`): A .jsonl or .json file with one object a line, a .csv or a .tsv file.
        chosen (`Mapping[Column, str]`): See [`~escoita.data.readers.base.find_columns`].
        needed (`Sequence[Column]`, *optional*, defaults to `("audio", "text")`): The same.
        header (`Sequence[str]`, *optional*): Names of the columns of a table that has no header.

    Returns:
        `Iterator[Record | Rejected]`: In their order, with their lines as an editor counts them.

    Raises:
        CorpusError: The file cannot be read, or its columns are not known.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise CorpusError(f"{path}: is a folder; name the manifest in it, or in a recipe the reader of its layout")
    if suffix not in (*JSON_LINES, *DIALECTS):
        raise CorpusError(
            f"{path}: is not {', '.join(JSON_LINES)}, {' or '.join(DIALECTS)}, which tell how it is read"
        )
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
                raise CorpusError(f"{path}: cannot be read: it is UTF-16; save it as UTF-8")
            file.seek(len(_UTF8_MARK) if start == _UTF8_MARK else 0)
            yield file
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error


def _objects(
    file: BinaryIO, path: Path, chosen: Mapping[Column, str], needed: Sequence[Column]
) -> Iterator[Record | Rejected]:
    source = str(path)
    # Objects need not all have the same keys, but few sets of keys are many objects'.
    known: dict[tuple[str, ...], Names | str] = {}
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
        if isinstance(names, str):
            yield Rejected(source, row, "", names)
        else:
            yield row, fields, names
    _refuse_unknown(path, known, chosen)


def _names_of(keys: Sequence[str], chosen: Mapping[Column, str], needed: Sequence[Column]) -> Names | str:
    """What an object calls each column, or why that cannot be told; what it may lack is not asked for."""
    asked = {ours: name if name in keys or ours in needed else "" for ours, name in chosen.items()}
    try:
        return find_columns(keys, asked, needed)
    except LookupError as error:
        return str(error)


def _refuse_unknown(path: Path, known: Mapping[tuple[str, ...], Names | str], chosen: Mapping[Column, str]) -> None:
    """Refuses objects of which none has what the recipe names, or none what is needed."""
    reasons = [names for names in known.values() if isinstance(names, str)]
    for ours, name in chosen.items():
        if known and name and not any(name in keys for keys in known):
            reasons = [f"no row has {name!r}, which columns.{ours} names"] * len(known)
    if known and len(reasons) == len(known):
        raise CorpusError(f"{path}: {reasons[0]}")


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
        _, header = next(records, (0, []))
        if isinstance(header, str):
            raise CorpusError(f"{path}: its header is {header}")
        if not header:
            return
    try:
        names = find_columns(header, chosen, needed)
    except LookupError as error:
        raise CorpusError(f"{path}: {error}") from error
    for row, fields in records:
        if isinstance(fields, str):
            yield Rejected(source, row, "", fields)
        elif len(fields) != len(header):
            yield Rejected(source, row, "", f"{len(fields)} fields where there are {len(header)} columns")
        else:
            yield row, dict(zip(header, fields, strict=True)), names
