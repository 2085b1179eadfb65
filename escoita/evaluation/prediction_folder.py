"""The predictions of a folder: which corpora, which systems, and that all of them heard the same clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from escoita.errors import RecordError
from escoita.evaluation.predictions import Provenance, counts_path, predictions_path, read_predictions
from escoita.records.evaluation import BASE, SUBJECT, System
from escoita.utils.limits import FOLDER_BYTES


@dataclass(frozen=True)
class CorpusPredictions:
    """
    What the systems heard in one corpus, row by row the same clips.

    Args:
        name (`str`): The corpus.
        rejected (`int`): Rows of it that could not be used.
        tables (`dict[str, pa.Table]`): Predictions of each system, the judged one first.
        counts (`Path`, *optional*): Where the counts of each utterance stand, if the references are hashed.
    """

    name: str
    rejected: int
    tables: dict[str, pa.Table]
    counts: Path | None = None

    @property
    def clips(self) -> pa.Table:
        """What is known of the clips, whoever heard them."""
        return next(iter(self.tables.values()))


def read_folder(
    folder: Path, corpora: Sequence[str] | None = None, systems: Sequence[str] | None = None
) -> tuple[list[System], list[CorpusPredictions]]:
    """
    Reads all predictions below a folder.

    Args:
        folder (`Path`): Holds `<corpus>/predictions*.parquet`.
        corpora (`Sequence[str]`, *optional*): Those that are wanted, in their order; all that are there, by name,
            unless given.
        systems (`Sequence[str]`, *optional*): Those that are wanted; all that are there unless given.

    Returns:
        `tuple[list[System], list[CorpusPredictions]]`: What was evaluated, the judged one first: the adapter, else the
        base, else what comes first by name; and the predictions, those of the probes among them.

    Raises:
        RecordError: A file is missing or not one of ours, stands where it does not belong, or holds other clips or is
            of another model than those beside it.
    """
    found: dict[str, dict[str, tuple[Path, pa.Table, Provenance]]] = {}
    size = 0
    for path in sorted(folder.glob("*/predictions*.parquet")):
        if corpora is not None and path.parent.name not in corpora:
            continue
        table, provenance = read_predictions(path)
        size += table.nbytes
        if size > FOLDER_BYTES:
            raise RecordError(f"{folder}: its predictions take more than {FOLDER_BYTES:,} bytes of memory")
        name = provenance.system.name
        if path != predictions_path(folder, provenance.corpus, name):
            raise RecordError(f"{path}: holds what {name} heard in {provenance.corpus}, so it cannot stand there")
        if systems is None or name in systems:
            found.setdefault(provenance.corpus, {})[name] = (path, table, provenance)
    for corpus in corpora if corpora is not None else found or [""]:
        if corpus not in found:
            raise RecordError(f"{folder / corpus}: holds no predictions; escoita eval writes them")
    described = {
        name: _described([files[name] for files in found.values() if name in files])
        for name in sorted({name for files in found.values() for name in files}, key=_rank)
    }
    read = []
    for corpus in corpora if corpora is not None else found:
        files = [found[corpus][name] for name in described if name in found[corpus]]
        for path, table, _ in files[1:]:
            _require_same_clips(*files[0][:2], path, table)
        tables = {provenance.system.name: table for _, table, provenance in files}
        counts = counts_path(folder, corpus) if files[0][2].references == "hashed" else None
        read.append(CorpusPredictions(corpus, files[0][2].rejected, tables, counts))
    return list(described.values()), read


def _rank(name: str) -> tuple[bool, bool, str]:
    return name != SUBJECT, name != BASE, name


def _described(files: Sequence[tuple[Path, pa.Table, Provenance]]) -> System:
    """A system as all its files have it: the same model everywhere, its memory the most that any of them took."""
    first_path, _, first = files[0]
    for path, _, provenance in files[1:]:
        for key in ("base_sha256", "adapter_sha256", "dtype", "max_new_tokens"):
            if getattr(provenance.system, key) != getattr(first.system, key):
                raise RecordError(f"{first_path} and {path}: of different models, by their {key}; evaluate again")
    peak = max(provenance.system.peak_memory_bytes for *_, provenance in files)
    return first.system.model_copy(update={"peak_memory_bytes": peak})


def _require_same_clips(path: Path, table: pa.Table, other_path: Path, other: pa.Table) -> None:
    if table.num_rows != other.num_rows:
        raise RecordError(
            f"{path} and {other_path}: {table.num_rows} and {other.num_rows} rows, not the same clips; evaluate again"
        )
    for column in ("id", "reference"):
        if not table[column].equals(other[column]):
            pairs = zip(table[column].to_pylist(), other[column].to_pylist(), strict=True)
            row, (ours, theirs) = next((row, pair) for row, pair in enumerate(pairs, 1) if pair[0] != pair[1])
            raise RecordError(
                f"{path} and {other_path}: not the same clips: row {row} has {column} {ours!r} and {theirs!r};"
                " evaluate again"
            )
