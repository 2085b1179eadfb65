"""Read the rows of tables whose columns are recognized."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

from escoita.data.inspection.columns import Columns, recognize, split_name
from escoita.data.inspection.found import Found
from escoita.data.inspection.listing import Listing
from escoita.data.inspection.tables import Table, read_tables
from escoita.data.readers.base import SelectionError, row_language
from escoita.data.rows import Rejected
from escoita.errors import CorpusError, RecordError
from escoita.recipe.schema import Column


# Values of columns of the gender, in the languages of `columns.py`.
_GENDERS = {
    **dict.fromkeys(
        "f female w woman feminino femenino muller mujer ayol kadin kadın ж женский аёл".split(), "female"
    ),
    **dict.fromkeys("m male h man masculino home hombre erkak erkek м мужской эркак".split(), "male"),
}


def read_all_tables(
    listing: Listing, paths: list[Path], language: str, chosen: Mapping[Column, str], required: bool = False
) -> Found:
    """
    Read the tables that list most recordings: one, or several of different recordings, such as one for each split.

    Args:
        listing ([`~escoita.data.inspection.listing.Listing`]): The files of the folder.
        paths (`list[Path]`): The files that may contain tables.
        language (`str`): The language, which decides between old encodings.
        chosen (`Mapping[Column, str]`): Names of columns that are not recognized by themselves.
        required (`bool`, *optional*, defaults to `False`): Whether a file that cannot be read is an error; else it is
            named in the notes.

    Returns:
        [`~escoita.data.inspection.found.Found`]: The rows, if any.

    Raises:
        CorpusError: A required file cannot be read, or a given column is not found.
    """
    known: list[tuple[Table, Columns]] = []
    notes, missing = [], []
    for path in paths:
        try:
            tables = read_tables(path, language)
        except (CorpusError, RecordError) as error:
            if required:
                raise
            notes.append(f"Not used: {error}")
            continue
        for table in tables:
            try:
                columns = recognize(table, listing, chosen)
            except SelectionError as error:  # another table may have the column
                missing.append(error)
                continue
            if columns:
                known.append((table, columns))
    if missing and not known:
        raise missing[0]
    # The table with most recordings first; others are used if they list other recordings.
    known.sort(key=lambda each: -sum(path is not None for path in each[1].paths))
    found = Found("", notes=notes)
    listed: set[Path] = set()
    used = []
    for table, columns in known:
        own = {path for path in columns.paths if path is not None}
        if len(own & listed) > 0.1 * len(own):
            found.notes.append(f"Not used, as another table lists its recordings: {_name(table, listing)}")
            continue
        listed |= own
        used.append(_name(table, listing))
        _add_rows(found, table, columns, listing)
    if not found.rows:
        return found
    found.layout = f"a table: {used[0]}" if len(used) == 1 else f"{len(used)} tables: {', '.join(used[:5])}"
    table, columns = known[0]
    if columns.header:
        named = {"audio": columns.audio, "text": columns.text, **columns.names}
        found.notes.append("Columns: " + ", ".join(f"{name} = {columns.header[at]!r}" for name, at in named.items()))
        if "speaker" not in columns.names:
            found.notes.append(f"No column with speakers was recognized in: {', '.join(map(repr, columns.header))}")
    return found


def _name(table: Table, listing: Listing) -> str:
    name = os.path.relpath(table.path, listing.root)
    return f"{name} ({table.sheet})" if table.sheet else name


def _add_rows(found: Found, table: Table, columns: Columns, listing: Listing) -> None:
    body = table.rows[len(table.rows) - len(columns.paths) :]
    of_file = split_name(table.path.stem) or ""
    timed = "offset" in columns.names and {"end", "duration"} & set(columns.names)
    for (row, cells), path in zip(body, columns.paths, strict=True):
        cell = {
            name: cells[at].strip() if len(cells) > at else ""
            for name, at in {"audio": columns.audio, "text": columns.text, **columns.names}.items()
        }
        split = split_name(cell.get("split", "")) if cell.get("split") else of_file
        if not split and path is not None and len(parts := path.relative_to(listing.root).parts) > 1:
            split = split_name(parts[0])
        values = {}
        if timed and cell["offset"]:
            try:
                start = _seconds(cell["offset"])
                length = _seconds(cell["end"]) - start if cell.get("end") else _seconds(cell.get("duration", ""))
                if not (0 <= start < math.inf and 0 < length < math.inf):
                    raise ValueError
            except ValueError:
                found.rejected.append(Rejected(str(table.path), row, str(path or ""), "has no times of a segment"))
                continue
            values = {"offset": start, "duration": length}
        found.add(
            path,
            cell["audio"],
            cell["text"],
            table.path,
            row,
            speaker=cell.get("speaker", ""),
            gender=_GENDERS.get(cell.get("gender", "").casefold(), cell.get("gender", "")),
            split=split or "",
            language=_language(cell.get("language", "")),
            **values,
        )


def _seconds(text: str) -> float:
    """Return a time as seconds: a number with a point or a comma, or `1:02:03.5`."""
    seconds = 0.0
    for part in text.strip().replace(",", ".").split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def _language(text: str) -> str:
    """Return the tag of a cell, as in `gl-ES`; empty if it is not a tag, such as a name."""
    try:
        return row_language(text.strip())
    except ValueError:
        return ""
