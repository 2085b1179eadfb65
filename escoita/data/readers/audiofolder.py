"""Audio folders, as `datasets` calls them: recordings, and a table of metadata that names them."""

from collections.abc import Iterator
from pathlib import Path

from escoita.data.readers.base import Origin, Record, asked_split, collect, refuse_absent, validated_rows
from escoita.data.readers.tables import read_records
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Column, Corpus


METADATA = ("metadata.csv", "metadata.jsonl")
CHOSEN: dict[Column, str] = {"audio": "file_name"}


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Reads a folder with one table of metadata, or one in the folder of each split.

        voices/metadata.csv           file_name,transcription        voices/train/metadata.csv
        voices/train/0001.wav         train/0001.wav,ola             voices/train/0001.wav
        voices/test/0001.wav          test/0001.wav,bo día           voices/test/metadata.csv …

    Where one table has no column of the split, the first folder of `file_name` tells it.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): With the `split` where each has a folder.
        language (`str`): Of rows that name none.

    Raises:
        CorpusError: There is no metadata, the split is not named or not there, or columns are not known.
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
        refuse_absent(corpus, seen)
        return rows, rejected
    tables = {item.name: table for item in sorted(folder.glob("*/")) if (table := _metadata(item))}
    if not tables:
        raise CorpusError(f"{folder}: is not in the layout of reader audiofolder: it holds no {' or '.join(METADATA)}")
    split = asked_split(corpus, tables, default=next(iter(tables)) if len(tables) == 1 else None)
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
