"""Turn rows of a corpus into utterances: its splits, its columns, and the reasons for rejected rows."""

import math
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Column, Corpus


def asked_split(corpus: Corpus, there: Collection[str], default: str | None = None) -> str:
    """
    The split that a recipe names.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): As the recipe says.
        there (`Collection[str]`): The splits of the corpus.
        default (`str`, *optional*): Where the recipe names none; it must name one unless given.

    Raises:
        CorpusError: It names none, or one that is not there; lists those that are.
    """
    split = default if corpus.split is None else corpus.split
    listed = ", ".join(sorted(there))
    if not Path(corpus.path).exists() and not there:
        raise CorpusError(f"{corpus.path}: no such file or folder")
    if not there:
        raise CorpusError(f"{corpus.path}: is not in the layout of reader {corpus.reader}: no split is found in it")
    if split is None:
        raise CorpusError(f"{corpus.path}: set the split of corpus {corpus.name!r} to one of {listed}")
    if split not in there:
        raise CorpusError(f"{corpus.path}: has no split {split!r}; it has {listed}")
    return split


def refuse_absent(corpus: Corpus, seen: Collection[str]) -> None:
    """
    Refuses a split of which a column would tell, but no row is.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): As the recipe says.
        seen (`Collection[str]`): The splits of the rows, where the recipe asks for one.

    Raises:
        CorpusError: Lists the splits that are there.
    """
    if seen and corpus.split not in seen:
        asked_split(corpus, seen)


# As `_plain` writes them.
USUAL: dict[Column, tuple[str, ...]] = {
    "id": ("id", "utt_id", "utterance_id"),
    "audio": tuple(
        "audio_filepath audio audio_path audio_file audio_filename path file file_path filepath file_name filename wav"
        " wav_path wav_file wav_filename".split()
    ),
    "text": ("text", "sentence", "transcription", "transcript", "txt"),
    "language": ("lang", "language", "locale"),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id", "client_id"),
    "gender": ("gender", "sex"),
    "accent": ("accent", "accents"),
    "offset": ("offset",),
    "duration": ("duration",),
    "split": ("split",),
}


class Names(NamedTuple):
    """What a corpus calls each of our columns; `None` where it has no such column."""

    id: str | None = None
    audio: str | None = None
    text: str | None = None
    language: str | None = None
    speaker: str | None = None
    gender: str | None = None
    accent: str | None = None
    offset: str | None = None
    duration: str | None = None
    split: str | None = None

    @property
    def words(self) -> tuple[str | None, ...]:
        return self.id, self.language, self.speaker, self.gender, self.accent, self.split


def find_columns(
    present: Sequence[str], chosen: Mapping[Column, str], needed: Sequence[Column] = ("audio", "text")
) -> Names:
    """
    Matches the columns that are there with ours.

    Args:
        present (`Sequence[str]`): Names of the columns of the corpus.
        chosen (`Mapping[Column, str]`): Theirs by ours, as `columns` of a recipe says; an empty name leaves a column
            out. What it does not name is recognised by its usual names, in any case.
        needed (`Sequence[Column]`, *optional*, defaults to `("audio", "text")`): Of ours, those that must be there.

    Returns:
        [`Names`]: Theirs by ours.

    Raises:
        LookupError: A column is missing, or two could be meant; says so, what there is, and what to set.
    """
    spoken_for = set(chosen.values())
    found: dict[str, str] = {}
    for ours, usual in USUAL.items():
        if ours in chosen:
            matches = [name for name in present if name == chosen[ours]]
            if not matches and chosen[ours]:
                raise LookupError(
                    f"has no column {chosen[ours]!r}, which columns.{ours} names; it has {_list(present)}"
                )
        else:
            matches = [name for name in present if name not in spoken_for and _plain(name) in usual]
        if len(matches) > 1:
            raise LookupError(f"has the columns {_list(matches)}, each of which may be the {ours}; set columns.{ours}")
        if matches:
            found[ours] = matches[0]
        elif ours in needed:
            raise LookupError(f"has no column that is known as {ours}; set columns.{ours} to one of {_list(present)}")
    return Names(**found)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.strip().lower())


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


# Its line or row, counted from 1; what stands there; and what the corpus calls it.
Record = tuple[int, Mapping[Any, Any], Names]
# Of an utterance, in the order of the schema of rows: an object for each of a million rows would take seconds.
Values = tuple[Any, ...]
# What Common Voice and the tables of FLEURS write, so that slices of several corpora are told apart by meaning alone.
_GENDERS = {"female_feminine": "female", "male_masculine": "male", "female": "female", "male": "male"}
_CODE = re.compile(r"([a-z]{2,3})(?:[-_].*)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Where rows come from.

    Args:
        corpus (`str`): Name of the corpus.
        language (`str`): Of rows that name none.
        source (`str`): The file or dataset that names them.
        folder (`str`): What paths are relative to.
        split (`str`, *optional*, defaults to `""`): Of rows that name none.
    """

    corpus: str
    language: str
    source: str
    folder: str
    split: str = ""

    @classmethod
    def of(cls, corpus: Corpus, language: str, path: Path, folder: Path | None = None, split: str = "") -> Self:
        """A file of a corpus, to whose folder paths are relative unless another is given."""
        folder = folder or path.parent
        return cls(corpus.name, language, str(path), "" if folder == Path() else str(folder), split)


def collect(rows: Iterable[Values | Rejected], limit: int | None = None) -> tuple[Utterances, list[Rejected]]:
    """
    Sorts usable rows from rejected ones, in one pass that keeps few of them in Python.

    Args:
        rows (`Iterable[Values | Rejected]`): As [`validated_rows`] makes them.
        limit (`int`, *optional*): Rows that are read, rejected ones counted; all unless given.

    Returns:
        `tuple[Utterances, list[Rejected]]`: Both in their order.
    """
    rejected: list[Rejected] = []

    def usable() -> Iterator[Values]:
        for row in islice(rows, limit):
            if isinstance(row, Rejected):
                rejected.append(row)
            else:
                yield row

    return Utterances.of_values(usable()), rejected


def validated_rows(
    records: Iterable[Record | Rejected], origin: Origin, split: str | None = None, seen: set[str] | None = None
) -> Iterator[Values | Rejected]:
    """
    Tells which records can be utterances.

    Args:
        records (`Iterable[Record | Rejected]`): As a file has them; what cannot even be parsed is rejected already.
        origin ([`Origin`]): Where they come from.
        split (`str`, *optional*): Only of records whose column of the split says so; of all unless given.
        seen (`set[str]`, *optional*): Takes the splits that are met, where one is asked for.

    Returns:
        `Iterator[Values | Rejected]`: In their order.
    """
    for record in records:
        if isinstance(record, Rejected):
            yield record
            continue
        row, fields, names = record
        if split is not None:
            part = str(fields.get(names.split) or "").strip()
            if seen is not None and part:
                seen.add(part)
            if part != split:
                continue
        yield validate_row(fields, names, origin, row)


def validate_row(fields: Mapping[Any, Any], names: Names, origin: Origin, row: int) -> Values | Rejected:
    """
    Tells whether a row can be an utterance.

    Args:
        fields (`Mapping[Any, Any]`): Values by the names that the corpus has for them.
        names ([`Names`]): Those names.
        origin ([`Origin`]): Where the row comes from.
        row (`int`): Its line or row, counted from 1.

    Returns:
        `Values` or `Rejected`: With an offset a part of a recording; without one the whole of it.
    """
    get = fields.get
    audio, text = get(names.audio), get(names.text)
    if not isinstance(audio, str) or not audio.strip():
        return Rejected(origin.source, row, "", f"{names.audio!r} is not the name of a recording")
    path = audio if not origin.folder or audio.startswith(os.sep) else f"{origin.folder}{os.sep}{audio}"
    try:
        if not isinstance(text, str):
            raise ValueError(f"{names.text!r} is not a text")
        text = text.strip()
        words = [_word(column, get(column)) if column else "" for column in names.words]
        _refuse_broken("".join((path, text, *words)), text)
        name, language, speaker, gender, accent, part = words
        gender = _GENDERS.get(gender.lower(), gender)
        language = _language(language) or origin.language
        offset, duration = _part(get(names.offset), get(names.duration))
    except ValueError as error:
        return Rejected(origin.source, row, path, str(error))
    name = name or os.path.splitext(os.path.basename(audio))[0]
    about = origin.source, row, part or origin.split, speaker, gender, accent
    return name, path, text, origin.corpus, language, *about, offset, duration, None, 0.0


def _part(offset: Any, duration: Any) -> tuple[float | None, float | None]:
    start, length = _seconds("offset", offset), _seconds("duration", duration)
    if start is not None and not length:
        raise ValueError("has an offset but no duration over 0; a part of a recording needs both")
    return start, length


def _seconds(name: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name} {str(value)[:40]!r} is not a number of seconds")
    return seconds


def _word(name: str | None, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name!r} is not a text or a number")
    return str(value)


@cache
def _language(value: str) -> str:
    match = _CODE.fullmatch(value)
    if value and not match:
        raise ValueError(f"language {value[:40]!r} is not a code such as gl; columns.language: '' leaves it out")
    return match[1].lower() if match else ""


def _refuse_broken(together: str, text: str) -> None:
    if not text:
        raise ValueError("empty transcript")
    if "\0" in together:
        raise ValueError("holds a NUL byte")
    try:
        together.encode()
    except UnicodeEncodeError as error:
        raise ValueError("is not valid Unicode") from error
