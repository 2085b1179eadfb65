"""Files that list recordings and transcripts, in JSON lines, csv or tsv, read into records."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from escoita.data.readers.collect import Record
from escoita.data.readers.columns import Names, find_columns
from escoita.data.readers.delimited import DIALECTS, read_delimited
from escoita.data.rows import Rejected
from escoita.errors import CorpusError
from escoita.recipe.recipe import Column


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
        chosen (`Mapping[Column, str]`): See [`~escoita.data.readers.columns.find_columns`].
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
