"""Read the predictions of a folder, and check that all systems transcribed the same clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from escoita.errors import RecordError
from escoita.evaluation.errors import (
    MisplacedPredictionsError,
    MissingPredictionsError,
    OtherClipsError,
    OtherModelError,
)
from escoita.evaluation.predictions import Provenance, counts_path, predictions_path, read_predictions
from escoita.records.evaluation import ADAPTER_SYSTEM, BASE, System
from escoita.utils.limits import FOLDER_BYTES


@dataclass(frozen=True)
class CorpusPredictions:
    """
    Hold the predictions of all systems on one corpus, with the same clips in each table.

    Args:
        name (`str`): Name of the corpus.
        rejected (`int`): Number of rows of the corpus that could not be used.
        tables (`dict[str, pa.Table]`): Predictions of each system, the main one first.
        counts (`Path`, *optional*): File with the counts of each utterance, if the references are hashed.
        retention (`bool`, *optional*, defaults to `False`): Whether the corpus measures forgetting.
    """

    name: str
    rejected: int
    tables: dict[str, pa.Table]
    counts: Path | None = None
    retention: bool = False

    @property
    def clips(self) -> pa.Table:
        """Return the predictions of the first system, for the columns that are the same for all systems."""
        return next(iter(self.tables.values()))


def read_folder(
    folder: Path, corpora: Sequence[str] | None = None, systems: Sequence[str] | None = None
) -> tuple[list[System], list[CorpusPredictions]]:
    """
    Read all predictions below a folder.

    Args:
        folder (`Path`): Folder with `<corpus>/predictions*.parquet`.
        corpora (`Sequence[str]`, *optional*): Names of the corpora in their order. Defaults to all corpora of the
            folder, sorted by name.
        systems (`Sequence[str]`, *optional*): Names of the systems. Defaults to all systems of the folder.

    Returns:
        `tuple[list[System], list[CorpusPredictions]]`: The systems, the main one first (the adapter, else the base,
        else a model behind an endpoint, else the first by name), and the predictions, including those of the probes.

    Raises:
        MissingPredictionsError: A corpus has no predictions.
        MisplacedPredictionsError: The path of a file does not match its content.
        OtherClipsError: Two files of a corpus contain different clips.
        OtherModelError: Two files of a system are of different models.
        RecordError: A file cannot be read, or all of them need too much memory.
    """
    found: dict[str, dict[str, tuple[Path, pa.Table, Provenance]]] = {}
    size = 0
    for path in sorted(folder.glob("*/predictions*.parquet")):
        if corpora is not None and path.parent.name not in corpora:
            continue
        table, provenance = read_predictions(path)
        size += table.nbytes
        if size > FOLDER_BYTES:
            raise RecordError(f"the predictions need more than {FOLDER_BYTES:,} bytes of memory", path=folder)
        name = provenance.system.name
        if path != predictions_path(folder, provenance.corpus, name):
            raise MisplacedPredictionsError(path=path, system=name, corpus=provenance.corpus)
        if systems is None or name in systems:
            found.setdefault(provenance.corpus, {})[name] = (path, table, provenance)
    for corpus in corpora if corpora is not None else found or [""]:
        if corpus not in found:
            raise MissingPredictionsError(path=folder / corpus)
    names = sorted({name for files in found.values() for name in files})
    systems_found = [_described([files[name] for files in found.values() if name in files]) for name in names]
    described = {system.name: system for system in sorted(systems_found, key=_rank)}
    read = []
    for corpus in corpora if corpora is not None else found:
        files = [found[corpus][name] for name in described if name in found[corpus]]
        for path, table, _ in files[1:]:
            _require_same_clips(*files[0][:2], path, table)
        tables = {provenance.system.name: table for _, table, provenance in files}
        counts = counts_path(folder, corpus) if files[0][2].references == "hashed" else None
        retention = files[0][2].use == "retention"
        read.append(CorpusPredictions(corpus, files[0][2].rejected, tables, counts, retention))
    return list(described.values()), read


def _rank(system: System) -> tuple[bool, bool, bool, str]:
    return system.name != ADAPTER_SYSTEM, system.name != BASE, system.endpoint is None, system.name


def _described(files: Sequence[tuple[Path, pa.Table, Provenance]]) -> System:
    """
    Return the system of several files of the same model, with the highest peak memory, the last day, and the speech
    detector of the corpora with long recordings.
    """
    first_path, _, first = files[0]
    for path, _, provenance in files[1:]:
        for key in ("base_sha256", "adapter_sha256", "dtype", "max_new_tokens", "decoding"):
            if getattr(provenance.system, key) != getattr(first.system, key):
                raise OtherModelError(path=path, key=key, other=first_path)
    detectors = {made.system.speech_detector: path for path, _, made in files if made.system.speech_detector}
    if len(detectors) > 1:
        path, other = sorted(detectors.values())
        raise OtherModelError(path=path, key="speech_detector", other=other)
    peak = max(provenance.system.peak_memory_bytes for *_, provenance in files)
    days = [provenance.system.evaluated for *_, provenance in files if provenance.system.evaluated]
    merged = {"evaluated": max(days, default=None), "speech_detector": next(iter(detectors), None)}
    return first.system.model_copy(update={"peak_memory_bytes": peak, **merged})


def _require_same_clips(path: Path, table: pa.Table, other_path: Path, other: pa.Table) -> None:
    if table.num_rows != other.num_rows:
        raise OtherClipsError(
            f"{other.num_rows} rows, and {table.num_rows} in {path}: not the same clips", path=other_path, other=path
        )
    for column in ("id", "reference"):
        if not table[column].equals(other[column]):
            pairs = zip(table[column].to_pylist(), other[column].to_pylist(), strict=True)
            row, (expected, value) = next((row, pair) for row, pair in enumerate(pairs, 1) if pair[0] != pair[1])
            raise OtherClipsError(
                f"not the same clips: {expected!r} in {path}",
                path=other_path,
                row=row,
                key=column,
                value=value,
                other=path,
            )
