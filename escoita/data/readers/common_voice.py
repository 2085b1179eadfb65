"""Read Common Voice: the folder of one language, as Mozilla Data Collective distributes it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from escoita.data.readers.base import (
    Origin,
    Record,
    collect,
    requested_split,
    require_split,
    selection_error,
    validated_rows,
)
from escoita.data.readers.tables import read_records
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Column, Corpus


SPLITS = ("train", "dev", "test", "validated", "invalidated", "other")
DURATIONS = "clip_durations.tsv"
# The table of spontaneous speech, of which the splits are in a column.
SPONTANEOUS = "ss-corpus-*.tsv"
MILLISECONDS = "duration_ms"


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Read one split of a language folder.

        cv-corpus-23.0-2025-09-05/gl/
          train.tsv dev.tsv test.tsv validated.tsv invalidated.tsv other.tsv
          clip_durations.tsv
          clips/common_voice_gl_1.mp3 …

    The speaker is the `client_id`, the language the `locale`. Older releases lack some columns, and may name a clip
    without `.mp3`. Durations are read from `clip_durations.tsv` if it exists.

    A folder of spontaneous speech has one table, with a column for the split:

        sps-corpus-1.0-2025-09-05-gl/
          ss-corpus-gl.tsv
          audios/spontaneous-speech-gl-1.mp3 …

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus with the `split`, one of `SPLITS` or another table; of
            spontaneous speech, a value of the column.
        language (`str`): The language of rows that name none.

    Raises:
        CorpusError: The split is not set although there are several, or not found, or its table has other columns.
    """
    folder = Path(corpus.path)
    if table := spontaneous_table(folder):
        return read_spontaneous(corpus, language, table)
    available = [path.stem for path in folder.glob("*.tsv") if path.stem in (*SPLITS, corpus.split)]
    split = requested_split(corpus, available)
    index = folder / f"{split}.tsv"
    origin = Origin.of(corpus, language, index, folder / "clips", split)
    records = _with_durations(read_records(index, corpus.columns), _durations(folder / DURATIONS))
    return collect(validated_rows(records, origin), corpus.limit)


def spontaneous_table(folder: Path) -> Path | None:
    """
    Return the table of a folder of spontaneous speech, or `None` if it is another folder.

    Args:
        folder (`Path`): The folder of one language.

    Raises:
        CorpusError: The folder contains the tables of several languages.
    """
    tables = sorted(folder.glob(SPONTANEOUS))
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise CorpusError(f"contains the tables of several languages ({names})", path=folder)
    return tables[0] if tables else None


def read_spontaneous(
    corpus: Corpus, language: str, table: Path, all_splits: bool = False
) -> tuple[Utterances, list[Rejected]]:
    """
    Read a table of spontaneous speech.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus, with the value of the column `split`.
        language (`str`): The language of rows that name none.
        table (`Path`): The table.
        all_splits (`bool`, *optional*): Whether the rows of all splits are read if the corpus names none.

    Raises:
        CorpusError: The split is not set although there are several, or not found, or the table has other columns.
    """
    records = read_records(table, corpus.columns, ("audio", "text", "split") if corpus.split else ("audio", "text"))
    origin = Origin.of(corpus, language, table, table.parent / "audios")
    seen: set[str] = set()
    if corpus.split is None and not all_splits and len(splits := _splits_of(table, corpus)) > 1:
        # Without it, the rows of train and test would be read together.
        raise selection_error(f"required for corpus {corpus.name!r}", splits, table, "split")
    rows, rejected = collect(validated_rows(_with_seconds(records), origin, corpus.split, seen), corpus.limit)
    require_split(corpus, seen)
    return rows, rejected


def _splits_of(table: Path, corpus: Corpus) -> list[str]:
    """Return the values in the column of the split."""
    records = read_records(table, corpus.columns, ("audio", "text"))
    rows = (record for record in records if not isinstance(record, Rejected))
    return sorted({str(fields.get(names.split) or "").strip() for _, fields, names in rows} - {""})


def _with_seconds(records: Iterator[Record | Rejected]) -> Iterator[Record | Rejected]:
    for record in records:
        if isinstance(record, Rejected):
            yield record
            continue
        row, fields, names = record
        fields = {**fields, names.audio: os.path.basename(fields[names.audio])}
        if MILLISECONDS not in fields:
            yield row, fields, names
            continue
        length = None
        with suppress(ValueError):
            length = float(fields[MILLISECONDS]) / 1000
        yield row, {**fields, DURATIONS: length}, names._replace(duration=DURATIONS)


def _with_durations(records: Iterator[Record | Rejected], durations: dict[str, float]) -> Iterator[Record | Rejected]:
    for record in records:
        if isinstance(record, Rejected):
            yield record
            continue
        row, fields, names = record
        clip = os.path.basename(fields[names.audio])
        if clip and "." not in clip:
            clip = f"{clip}.mp3"
        yield row, {**fields, names.audio: clip, DURATIONS: durations.get(clip)}, names._replace(duration=DURATIONS)


def _durations(path: Path) -> dict[str, float]:
    """Return the seconds by the name of a clip, without unreadable ones, as decoding does not need them."""
    durations: dict[str, float] = {}
    if path.is_file():
        chosen: dict[Column, str] = {"audio": "clip", "duration": "duration[ms]"}
        for record in read_records(path, chosen, needed=("audio", "duration")):
            if not isinstance(record, Rejected):
                _, fields, names = record
                with suppress(ValueError):
                    durations[fields[names.audio]] = float(fields[names.duration]) / 1000
    return durations
