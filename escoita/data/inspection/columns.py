"""Find the columns of a table by their values, and by their names in any language."""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from escoita.data.inspection.listing import Listing
from escoita.data.inspection.tables import Table
from escoita.data.readers.base import selection_error
from escoita.recipe.schema import Column
from escoita.records.data import Split


# The smallest share of rows that must name a recording that exists.
_AUDIO_SHARE = 0.5
_SAMPLE = 2000
# Words in names of columns, without accents, in some languages of the people who record.
_NAMES: dict[Column | Literal["end"], str] = {
    "text": r"text|txt|sentence|transcri|trascri|transkri|verbatim|frase|oracion|satz|phrase|matn|^gap(lar)?$|metin"
    r"|cumle|kalimat|teks|zdanie|tekst|текст|матн|гап|транскри|предложен|фраза|كلام|نص|文本|句子|テキスト|utterance",
    "speaker": r"speaker|spk|client_?id|locutor|falante|hablante|parlante|locuteur|sprecher|spreker|talker|narrator"
    r"|reader|informant|consultant|participant|person|soʻzlovchi|sozlovchi|so.zlovchi|gapiruvchi|konusmac|penutur"
    r"|диктор|говорящ|спикер|сўзловчи|mowca|المتحدث|说话人|話者",
    "gender": r"gender|sex|xenero|genero|genre|geschlecht|jins|cinsiyet|kelamin|пол|жинс|plec",
    "split": r"split|subset|partition|particion|partic|^set$|^part$|^parte$|conxunto",
    "language": r"^lang|language|locale|lingua|idioma|^langue|sprache|^til$|язык|тил",
    "offset": r"^offset|^start|^begin|^inicio|^comezo|^debut|^anfang|^from$|начало",
    "end": r"^end$|^end_?time|^end_?s|^stop|^fin$|^fim$|^final|^ende|^to$|конец",
    "duration": r"duration|duracion|dauer|^length|duree|davomiyligi|длительность",
}
_SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "treino": "train",
    "entrenamiento": "train",
    "adestramento": "train",
    "dev": "validation",
    "devel": "validation",
    "development": "validation",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "validacion": "validation",
    "validazione": "validation",
    "test": "test",
    "tst": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "proba": "test",
    "prueba": "test",
}


def split_name(word: str) -> Split | None:
    """Return `train`, `validation` or `test` for a word that names a split, as `train-clean-100`; else `None`."""
    plain = _plain(word)
    return _SPLIT_WORDS.get(plain) or _SPLIT_WORDS.get(re.split(r"[-_.\d ]", plain)[0])


class Columns(NamedTuple):
    """
    Store the indices of columns; `None` if a table does not have one.

    Args:
        audio (`int`): The recordings.
        text (`int`): The transcripts.
        names (`dict[str, int]`): The other columns: speaker, gender, split, language, offset, end, duration.
        header (`list[str]`): The names of all columns; empty if the table has no header.
        paths (`list[Path | None]`): The recording of each row below the header.
    """

    audio: int
    text: int
    names: dict[str, int]
    header: list[str]
    paths: list[Path | None]


def recognize(table: Table, listing: Listing, chosen: Mapping[Column, str] | None = None) -> Columns | None:
    """
    Find the columns of a table, or return `None` if it does not list recordings with transcripts.

    The recordings are in the column whose values name most of the listed recordings; the transcripts are in the column
    with a usual name, or else with the most letters; others are found by their names. A first row that does not name a
    recording is the header.

    Args:
        table ([`~escoita.data.inspection.tables.Table`]): The table.
        listing ([`~escoita.data.inspection.listing.Listing`]): The recordings.
        chosen (`Mapping[Column, str]`, *optional*): Names of columns that the user gives; an empty name excludes one.

    Raises:
        SelectionError: A given column is not found.
    """
    chosen = chosen or {}
    folder, rows = table.path.parent, table.rows
    if table.header is None:  # spreadsheets often begin with a title
        title = next((index for index, (_, row) in enumerate(rows) if sum(map(bool, map(str.strip, row))) > 1), 0)
        rows = rows[title:]
    width = max((len(row) for _, row in rows[:_SAMPLE]), default=0)
    header = table.header or ([cell.strip() for cell in rows[0][1]] if rows else [])
    sample = [row for _, row in rows[:_SAMPLE]]
    audio, share = None, 0.0
    for column in range(width):
        cells = [row[column] for row in sample if len(row) > column and row[column].strip()]
        found = sum(listing.find(cell, folder) is not None for cell in cells)
        # A suffix decides between the name of a recording and its id.
        value = found / max(1, len(sample)) + 0.01 * (found > 0 and any("." in cell for cell in cells))
        if value > share:
            audio, share = column, value
    if "audio" in chosen:
        audio = _given("audio", chosen["audio"], header, table)
    elif share < min(_AUDIO_SHARE, 1 / max(1, len(sample) - 1)) or (share < _AUDIO_SHARE and len(sample) > 5):
        return None
    if audio is None:
        return None
    first = rows[0][1]
    has_header = table.header is not None or len(first) <= audio or listing.find(first[audio], folder) is None
    header = header if has_header else []
    body = rows if table.header is not None or not has_header else rows[1:]
    values = [[row[column] if len(row) > column else "" for _, row in body[:_SAMPLE]] for column in range(width)]
    names = _by_name(header, values, chosen, table)
    text = names.pop("text", None)
    if "split" not in names and "split" not in chosen:
        for column, cells in enumerate(values):
            words = {split_name(cell) for cell in cells if cell.strip()}
            if column not in (audio, text) and {"train", "test"} <= words and None not in words:
                names["split"] = column
    taken = {audio, *names.values()}
    if text is None or text == audio:
        text = _most_text(values, [column for column in range(width) if column not in taken])
    if text is None:
        return None
    names = {name: column for name, column in names.items() if column not in (audio, text)}
    paths = [listing.find(row[audio], folder) if len(row) > audio else None for _, row in body]
    return Columns(audio, text, names, header, paths)


def _by_name(header: list[str], values: list[list[str]], chosen: Mapping[Column, str], table: Table) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, pattern in _NAMES.items():
        if name != "end" and name in chosen:
            if (given := _given(name, chosen[name], header, table)) is not None:
                found[name] = given
            continue
        matches = [index for index, title in enumerate(header) if re.search(pattern, _plain(title))]
        matches = [index for index in matches if index not in found.values()]
        if name == "text":  # several transcripts: the raw one, rather than the normalized one
            raw = [index for index in matches if "norm" not in _plain(header[index])]
            if (text := _most_text(values, raw or matches)) is not None:
                found[name] = text
        elif matches:
            found[name] = min(matches, key=lambda index: len(header[index]))  # `speaker`, not `speaker_age`
    if "end" in found and "offset" not in found:
        del found["end"]
    return found


def _given(name: str, title: str, header: list[str], table: Table) -> int | None:
    if not title:
        return None
    if title not in header:
        raise selection_error("column not found", header, table.path, f"columns.{name}", title)
    return header.index(title)


def _most_text(values: list[list[str]], columns: list[int]) -> int | None:
    """Return the column with the most letters; of columns with few distinct values, none is a transcript."""
    best, most = None, 0.0
    for column in columns:
        cells = [cell.strip() for cell in values[column] if cell.strip()]
        letters = sum(character.isalpha() for cell in cells for character in cell)
        spaced = sum(" " in cell for cell in cells)
        score = letters * (0.2 + len(set(cells)) / max(1, len(cells))) * (1 + spaced / max(1, len(cells)))
        if cells and letters and score > most:
            best, most = column, score
    return best


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFD", name.strip().casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
