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
from escoita.metrics.normalizers import has_word
from escoita.recipe.advice import nearest
from escoita.recipe.schema import Column, Corpus
from escoita.utils.languages import canonical
from escoita.utils.limits import RECORDING_SECONDS


class SelectionError(CorpusError):
    """
    Report a split, configuration or column that is required, not found or ambiguous; `key` names the setting.

    Args:
        available (`tuple[str, ...]`): The names to choose from.
        nearest (`str`, *optional*): The name that was probably meant.
    """

    available: tuple[str, ...]
    nearest: str | None


def selection_error(
    problem: str,
    available: Collection[str],
    path: str | Path | None = None,
    key: str | None = None,
    value: str | None = None,
    meant: str | None = None,
) -> SelectionError:
    """
    Return the error of a setting, with a hint that lists the names to choose from.

    Args:
        problem (`str`): The problem, without the names to choose from.
        available (`Collection[str]`): The names to choose from.
        path (`str` or `Path`, *optional*): The path of the corpus, or of its file.
        key (`str`, *optional*): The key of the setting in a corpus of the recipe.
        value (`str`, *optional*): The value of the setting, if it has one.
        meant (`str`, *optional*): The name that was probably meant; by default the one most similar to `value`.
    """
    names = tuple(available)
    hint = f"use one of {_list(names)}" if names else None
    meant = meant or (nearest(value, names) if value else None)
    if hint and meant:
        hint = f"did you mean {meant!r}? {hint[0].upper()}{hint[1:]}"
    return SelectionError(problem, path=path, key=key, value=value, hint=hint, available=names, nearest=meant)


def requested_split(corpus: Corpus, available: Collection[str], default: str | None = None) -> str:
    """
    Return the split that a recipe names.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus of the recipe.
        available (`Collection[str]`): The splits of the corpus.
        default (`str`, *optional*): The split if the recipe names none. If it is not given, the recipe must name one.

    Raises:
        CorpusError: The corpus is not found or has no splits.
        SelectionError: The recipe names no split, or one that the corpus does not have.
    """
    split = default if corpus.split is None else corpus.split
    if not Path(corpus.path).exists() and not available:
        raise CorpusError("not found", path=corpus.path)
    if not available:
        raise CorpusError("no split found in this layout", path=corpus.path, key="reader", value=corpus.reader)
    if split is None:
        raise selection_error(f"required for corpus {corpus.name!r}", sorted(available), corpus.path, "split")
    if split not in available:
        raise selection_error("not found", sorted(available), corpus.path, "split", split)
    return split


def require_split(corpus: Corpus, seen: Collection[str]) -> None:
    """
    Require that a corpus whose rows name their splits has a row of the split that the recipe names.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus of the recipe.
        seen (`Collection[str]`): The splits of the rows, if the recipe names a split.

    Raises:
        SelectionError: No row is of this split.
    """
    if seen and corpus.split not in seen:
        requested_split(corpus, seen)


# The usual names of each column, normalized by `_plain`.
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
    """Store the names that a corpus has for our columns; `None` if it does not have a column."""

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
    def optional(self) -> tuple[str | None, ...]:
        """Return the names of the text columns that may be missing."""
        return self.id, self.language, self.speaker, self.gender, self.accent, self.split


def find_columns(
    present: Sequence[str], chosen: Mapping[Column, str], needed: Sequence[Column] = ("audio", "text")
) -> Names:
    """
    Match the columns of a corpus with ours.

    Args:
        present (`Sequence[str]`): The names of the columns of the corpus.
        chosen (`Mapping[Column, str]`): The names of the corpus for our columns, from `columns` of a recipe; an empty
            name excludes a column. Other columns are recognized by their usual names, in any case.
        needed (`Sequence[Column]`, *optional*, defaults to `("audio", "text")`): Our columns that must be found.

    Returns:
        [`Names`]: The names of the corpus for our columns.

    Raises:
        SelectionError: A column is missing, or several match; without a path.
    """
    taken = set(chosen.values())
    found: dict[str, str] = {}
    for ours, usual in USUAL.items():
        if ours in chosen:
            matches = [name for name in present if name == chosen[ours]]
            if not matches and chosen[ours]:
                raise selection_error("column not found", present, key=f"columns.{ours}", value=chosen[ours])
        else:
            matches = [name for name in present if name not in taken and _plain(name) in usual]
        if len(matches) > 1:
            raise selection_error("several columns match", matches, key=f"columns.{ours}")
        if matches:
            found[ours] = matches[0]
        elif ours in needed:
            free = [name for name in present if name not in taken]
            meant = next(filter(None, (nearest(name, free) for name in usual)), None)
            raise selection_error("no column recognized", present, key=f"columns.{ours}", meant=meant)
    return Names(**found)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.strip().lower())


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


# The line or row, counted from 1, its fields, and the names of the columns.
Record = tuple[int, Mapping[Any, Any], Names]
# The values of an utterance in the order of the row schema: one object for each of a million rows would take seconds.
Values = tuple[Any, ...]
# The values of Common Voice and of the tables of FLEURS, so that the slices of several corpora have the same names.
_GENDERS = {"female_feminine": "female", "male_masculine": "male", "female": "female", "male": "male"}
_CODE = re.compile(r"([a-z]{2,3})(?:[-_]([a-z]{4})(?![a-z]))?(?:[-_].*)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Store the origin of rows.

    Args:
        corpus (`str`): The name of the corpus.
        language (`str`): The language of rows that name none.
        source (`str`): The file or dataset that contains the rows.
        folder (`str`): The folder that paths are relative to.
        split (`str`, *optional*, defaults to `""`): The split of rows that name none.
    """

    corpus: str
    language: str
    source: str
    folder: str
    split: str = ""

    @classmethod
    def of(cls, corpus: Corpus, language: str, path: Path, folder: Path | None = None, split: str = "") -> Self:
        """Return the origin of a file of a corpus; paths are relative to its folder, or to `folder`."""
        folder = folder or path.parent
        return cls(corpus.name, language, str(path), "" if folder == Path() else str(folder), split)


def collect(rows: Iterable[Values | Rejected], limit: int | None = None) -> tuple[Utterances, list[Rejected]]:
    """
    Separate usable rows from rejected ones, in one pass that keeps few of them in Python.

    Args:
        rows (`Iterable[Values | Rejected]`): The rows of [`validated_rows`].
        limit (`int`, *optional*): The number of rows to read, including rejected ones. The default is all rows.

    Returns:
        `tuple[Utterances, list[Rejected]]`: The usable and the rejected rows, both in their order.
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
    Validate records, optionally those of one split.

    Args:
        records (`Iterable[Record | Rejected]`): The records of a file; those that cannot be parsed are rejected.
        origin ([`Origin`]): The origin of the records.
        split (`str`, *optional*): The split to select by the column of the split. The default is all records.
        seen (`set[str]`, *optional*): The set that receives the splits that occur, if `split` is given.

    Returns:
        `Iterator[Values | Rejected]`: The rows in their order.
    """
    for record in records:
        if isinstance(record, Rejected):
            yield record
            continue
        row, fields, names = record
        if split is not None:
            own = str(fields.get(names.split) or "").strip()
            if seen is not None and own:
                seen.add(own)
            if own != split:
                continue
        yield validate_row(fields, names, origin, row)


def validate_row(fields: Mapping[Any, Any], names: Names, origin: Origin, row: int) -> Values | Rejected:
    """
    Validate a row.

    Args:
        fields (`Mapping[Any, Any]`): The values by the column names of the corpus.
        names ([`Names`]): The column names of the corpus.
        origin ([`Origin`]): The origin of the row.
        row (`int`): The line or row, counted from 1.

    Returns:
        `Values` or `Rejected`: The values of an utterance: with an offset a segment of a recording, else a complete
        recording; or the rejected row.
    """
    get = fields.get
    audio, text = get(names.audio), get(names.text)
    if not isinstance(audio, str) or not audio.strip():
        return Rejected(origin.source, row, "", f"{names.audio!r} is not the path of a recording")
    path = audio if not origin.folder or audio.startswith(os.sep) else f"{origin.folder}{os.sep}{audio}"
    try:
        if not isinstance(text, str):
            raise ValueError(f"{names.text!r} is not text")
        text = text.strip()
        texts = [_text(column, get(column)) if column else "" for column in names.optional]
        _refuse_invalid("".join((path, text, *texts)), text)
        name, language, speaker, gender, accent, split = texts
        gender = _GENDERS.get(gender.lower(), gender)
        language = row_language(language, origin.language)
        offset, duration = _segment(get(names.offset), get(names.duration))
    except ValueError as error:
        return Rejected(origin.source, row, path, str(error))
    name = name or os.path.splitext(os.path.basename(audio))[0]
    middle = origin.source, row, split or origin.split, speaker, gender, accent
    return name, path, text, origin.corpus, language, *middle, offset, duration, None, 0.0


def _segment(offset: Any, duration: Any) -> tuple[float | None, float | None]:
    start, length = _seconds("offset", offset), _seconds("duration", duration)
    if start is not None and not length:
        raise ValueError("an offset requires a duration above 0")
    return start, length


def _seconds(name: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < RECORDING_SECONDS:
        raise ValueError(f"{name} {str(value)[:40]!r} is not a number of seconds")
    return seconds


def _text(name: str | None, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name!r} is neither text nor a number")
    return str(value)


@cache
def row_language(value: str, default: str = "") -> str:
    """
    Return the language and the script of a tag in a row, such as `uz-Cyrl` for `uz_cyrl-UZ`.

    Args:
        value (`str`): The tag, or nothing.
        default (`str`, *optional*): The tag of the corpus, which also replaces a tag of the same language that names
            no script: corpora write `sr` or `yo` where a recipe has `sr-Latn` or `yor`.

    Raises:
        ValueError: The value is not a tag.
    """
    if not value:
        return default
    match = _CODE.fullmatch(value)
    if not match:
        raise ValueError(f"language {value[:40]!r} is not a tag such as gl; exclude it by columns.language: ''")
    # The region does not matter for a transcript, and corpora name others than recipes do.
    language, script = match[1].lower(), match[2]
    if default and not script and canonical(language) == canonical(default):
        return default
    return f"{language}-{script.title()}" if script else language


def _refuse_invalid(joined: str, text: str) -> None:
    if not text:
        raise ValueError("empty transcript")
    if "\0" in joined:
        raise ValueError("contains a NUL byte")
    try:
        joined.encode()
    except UnicodeEncodeError as error:
        raise ValueError("is not valid Unicode") from error
    if not has_word(text):
        raise ValueError("the transcript has no word, only punctuation or symbols")
