"""Read tables of any encoding, delimiter and format as rows of text."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from escoita.data.encodings import check_lines, lines_of, read_text
from escoita.data.inspection.spreadsheet import SUFFIXES as SPREADSHEETS
from escoita.data.inspection.spreadsheet import read_sheets
from escoita.errors import CorpusError
from escoita.utils.limits import MEBIBYTE, parse_json


TABLE_BYTES = 256 * MEBIBYTE
MOST_ROWS = 2_000_000
# An empty cell takes 8 bytes, and a value of an object about 100.
MOST_CELLS, MOST_VALUES = 50_000_000, 20_000_000
DELIMITED, OBJECTS = (".csv", ".tsv", ".tab", ".txt", ".psv"), (".jsonl", ".json", ".ndjson")
SUFFIXES = (*DELIMITED, *OBJECTS, *SPREADSHEETS)
# Records that decide on the delimiter.
_SAMPLE = 200
_MOST_COLUMNS = 1000


class Table(NamedTuple):
    """
    Store a table.

    Args:
        path (`Path`): The file.
        rows (`list[tuple[int, list[str]]]`): The line or row number of each row, from 1, and its cells.
        header (`list[str]`, *optional*): The names of the columns; `None` if the first row may have them.
        sheet (`str`, *optional*, defaults to `""`): The sheet of a spreadsheet.
        delimiter (`str`, *optional*, defaults to `""`): The delimiter of a text file.
    """

    path: Path
    rows: list[tuple[int, list[str]]]
    header: list[str] | None = None
    sheet: str = ""
    delimiter: str = ""


def read_tables(path: Path, language: str | None = None) -> list[Table]:
    """
    Read the tables of a file: one, or one of each sheet of a spreadsheet; none if it contains no table.

    Args:
        path (`Path`): The file, in a format of `SUFFIXES`.
        language (`str`, *optional*): The language of the text, which decides between old encodings.

    Raises:
        CorpusError: The file cannot be read, is damaged or too large.
        RecordError: The file is too large.
    """
    suffix = path.suffix.lower()
    if suffix in SPREADSHEETS:
        sheets = read_sheets(path)
        tables = [Table(path, list(enumerate(cells, start=1)), sheet=title) for title, cells in sheets.items()]
    elif suffix in OBJECTS:
        tables = _objects(path, language)
    else:
        tables = _delimited(path, read_text(path, language, TABLE_BYTES))
    for table in tables:
        if len(table.rows) > MOST_ROWS:
            raise CorpusError(f"{len(table.rows):,} rows; at most {MOST_ROWS:,} are read", path=path)
    return [table for table in tables if table.rows]


def _delimited(path: Path, text: str) -> list[Table]:
    found = [(delimiter, _sampled(text, delimiter)) for delimiter in "\t;|,"]
    scores = [(_regularity(rows), delimiter) for delimiter, rows in found]
    score, delimiter = max(scores, key=lambda each: each[0])
    if not score:
        return []
    check_lines(path, text)
    _check_number(path, text.count(delimiter), MOST_CELLS, "cells")
    try:
        return [Table(path, _records(text, delimiter), delimiter=delimiter)]
    except csv.Error as error:
        raise CorpusError(f"a cell has more than {csv.field_size_limit():,} characters", path=path) from error


def _check_number(path: Path, number: int, most: int, kind: str) -> None:
    if number > most:
        raise CorpusError(f"{number:,} {kind}; at most {most:,} are read", path=path)


def _regularity(rows: list[tuple[int, list[str]]]) -> float:
    """Return the share of rows with the most frequent number of fields, above 1; slightly more for more fields."""
    counts = [len(row) for _, row in rows]
    usual = max(set(counts), key=counts.count, default=0)
    if not 1 < usual <= _MOST_COLUMNS:
        return 0.0
    return counts.count(usual) / len(counts) + 0.001 * min(usual, 50)


def _sampled(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the first rows; none if a cell is too long."""
    try:
        return _records(text, delimiter, _SAMPLE)
    except csv.Error:
        return []


def _records(text: str, delimiter: str, most: int | None = None) -> list[tuple[int, list[str]]]:
    """Return the rows; quotes are those of RFC 4180 if all rows are, else characters of the text."""
    try:
        return list(_parsed(text, delimiter, csv.QUOTE_MINIMAL, most))
    except csv.Error:
        return list(_parsed(text, delimiter, csv.QUOTE_NONE, most))


def _parsed(text: str, delimiter: str, quoting: Any, most: int | None) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, quoting=quoting, strict=True)
    line, count = 1, 0
    for row in reader:
        if any(cell.strip() for cell in row):
            yield line, row
            count += 1
            if count == most:
                return
        line = reader.line_num + 1


def _objects(path: Path, language: str | None) -> list[Table]:
    text = read_text(path, language, TABLE_BYTES)
    rows: list[tuple[int, dict[str, str]]] = []
    if path.suffix.lower() == ".json":
        try:
            rows = [(number, _cells(each)) for number, each in enumerate(_listed(parse_json(text.encode())), start=1)]
        except ValueError:
            rows = []
    if not rows:
        _check_number(path, text.count(":"), MOST_VALUES, "colons, and so about as many values")
        for number, line in enumerate(lines_of(path, text), start=1):
            if line.strip():
                try:
                    rows.append((number, _cells(json.loads(line))))
                except (ValueError, RecursionError):
                    if not rows:
                        return []
                    rows.append((number, {}))
    header = list(dict.fromkeys(key for _, row in rows for key in row))[:_MOST_COLUMNS]
    _check_number(path, len(rows) * len(header), MOST_CELLS, "cells")
    return [Table(path, [(number, [row.get(key, "") for key in header]) for number, row in rows], header)]


def _listed(document: Any) -> list[Any]:
    """Return the objects of a JSON document: a list, a list within an object, or objects or texts by recording."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        raise ValueError("no list of objects")
    lists = [value for value in document.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if lists:
        return max(lists, key=len)
    if all(isinstance(value, str) for value in document.values()):
        return [{"name": key, "text": value} for key, value in document.items()]
    if all(isinstance(value, dict) for value in document.values()):
        return [{"name": key, **value} for key, value in document.items()]
    return [document]


def _cells(row: Any) -> dict[str, str]:
    """Return the plain values of an object as text, and those of objects in it as `outer.inner`."""
    if not isinstance(row, dict):
        raise ValueError("not an object")
    cells: dict[str, str] = {}
    for key, value in row.items():
        inner = {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
        for name, each in inner.items():
            if isinstance(each, str | int | float) and not isinstance(each, bool):
                cells[name] = str(each)
    return cells


def unpacked_text(path: Path, limit: int = TABLE_BYTES) -> str:
    """
    Return the text of a file that may be compressed by gzip, in UTF-8.

    Args:
        path (`Path`): The file.
        limit (`int`, *optional*): The largest accepted size of the text in bytes.

    Raises:
        CorpusError: The file cannot be read, or is too large.
    """
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise CorpusError(f"more than {limit:,} bytes", path=path)
        return content.decode()
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise CorpusError(f"cannot be read ({error})", path=path) from error
