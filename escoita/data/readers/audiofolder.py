"""Read audio folders of `datasets`: recordings, and a metadata table that lists them."""

from collections.abc import Iterator
from pathlib import Path

from escoita.data.readers.base import Origin, Record, collect, requested_split, require_split, validated_rows
from escoita.data.readers.tables import read_records
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Column, Corpus


METADATA = ("metadata.csv", "metadata.jsonl")
CHOSEN: dict[Column, str] = {"audio": "file_name"}


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Read a folder with one metadata table, or with one in the folder of each split.

        voices/metadata.csv           file_name,transcription        voices/train/metadata.csv
        voices/train/0001.wav         train/0001.wav,ola             voices/train/0001.wav
        voices/test/0001.wav          test/0001.wav,bo día           voices/test/metadata.csv …

    If the table has no column for the split, the split is the first folder of `file_name`.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus, with the `split` if each split has a folder.
        language (`str`): The language of rows that name none.

    Raises:
        CorpusError: There is no metadata table, the split is not set or not found, or a column is not found.
    """
    folder, chosen = Path(corpus.path), CHOSEN | corpus.columns
    if table := _metadata(folder):
        records = read_records(table, chosen)
        if corpus.split:
            records = _with_splits(records)
        seen: set[str] = set()
        rows, rejected = collect(
            validated_rows(records, Origin.of(corpus, language, table), corpus.split, seen), corpus.limit
        )
        require_split(corpus, seen)
        return rows, rejected
    tables = {item.name: table for item in sorted(folder.glob("*/")) if (table := _metadata(item))}
    if not tables:
        raise CorpusError(f"{' or '.join(METADATA)} not found", path=folder, key="reader", value=corpus.reader)
    split = requested_split(corpus, tables, default=next(iter(tables)) if len(tables) == 1 else None)
    origin = Origin.of(corpus, language, tables[split], split=split)
    return collect(validated_rows(read_records(tables[split], chosen), origin), corpus.limit)


def _metadata(folder: Path) -> Path | None:
    return next((folder / name for name in METADATA if (folder / name).is_file()), None)


def _with_splits(records: Iterator[Record | Rejected]) -> Iterator[Record | Rejected]:
    for record in records:
        if isinstance(record, Rejected) or record[2].split:
            yield record
            continue
        row, fields, names = record
        parts = Path(str(fields[names.audio])).parts
        yield row, {**fields, "split": parts[0] if len(parts) > 1 else ""}, names._replace(split="split")
