"""Read predictions again for the report, and count confusions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from escoita.errors import RecordError
from escoita.evaluation.prediction_folder import read_folder
from escoita.metrics.normalizers import normalizer
from escoita.metrics.wer import align_all, word_edits
from escoita.records.evaluation import CorpusResult, EvaluationRecord


@dataclass(frozen=True)
class ScoredPredictions:
    """
    What one system heard in one corpus, under the normaliser of the record.

    Args:
        corpus (`str`): Name of the corpus.
        rows (`pa.Table`): As [`~escoita.evaluation.predictions.read_predictions`] gives them.
        references (`list[str]`): Normalised.
        hypotheses (`list[str]`): Normalised.
        edits (`np.ndarray`): Word edits of each utterance.
        words (`np.ndarray`): Words of each reference.
    """

    corpus: str
    rows: pa.Table
    references: list[str]
    hypotheses: list[str]
    edits: np.ndarray
    words: np.ndarray

    @property
    def wer(self) -> np.ndarray:
        """Word error rate of each utterance; of an empty reference, the words that were heard."""
        return self.edits / np.maximum(1, self.words)


def read_scored_predictions(folder: Path, record: EvaluationRecord) -> dict[str, list[ScoredPredictions]]:
    """
    Reads what the systems of a record heard.

    Args:
        folder (`Path`): Holds the predictions.
        record ([`~escoita.records.evaluation.EvaluationRecord`]): Made from them.

    Returns:
        `dict[str, list[Heard]]`: For each system its corpora, both in the order of the record.

    Raises:
        RecordError: A file is missing, is not one of ours, or is not the one that the record was made from.
    """
    names = [system.name for system in record.systems]
    _, read = read_folder(folder, [corpus.name for corpus in record.corpora], names)
    heard: dict[str, list[ScoredPredictions]] = {name: [] for name in names}
    for result, corpus in zip(record.corpora, read, strict=True):
        if corpus.counts:
            raise RecordError(f"{folder / result.name}: its references were not published, and a report shows them")
        for name in names:
            if name not in corpus.tables:
                raise RecordError(f"{folder / result.name}: holds no predictions of {name}; evaluate again")
            part = _counted(result.name, corpus.tables[name], record.normalizer)
            if not _made_from(result, name, part):
                raise RecordError(
                    f"{folder / result.name}: results.json was made from other predictions of {name}; evaluate again"
                )
            heard[name].append(part)
    return heard


def _counted(corpus: str, rows: pa.Table, normalizer_name: str) -> ScoredPredictions:
    normalise = normalizer(normalizer_name)
    references, hypotheses = (
        [normalise(text) for text in rows[name].to_pylist()] for name in ("reference", "hypothesis")
    )
    edits = word_edits(references, hypotheses)
    return ScoredPredictions(corpus, rows, references, hypotheses, edits.total, edits.reference)


def _made_from(result: CorpusResult, system: str, part: ScoredPredictions) -> bool:
    """Whether the predictions count up to the figures of the record."""
    if (heard := result.of(system)) is None:
        return False
    rates = heard.normalized
    return (result.n, rates.edits, rates.reference_words) == (len(part.edits), part.edits.sum(), part.words.sum())


@dataclass(frozen=True)
class Confusions:
    """
    How often what went wrong.

    Args:
        substituted (`Counter[tuple[str, ...]]`): Word of the reference and word heard in its place.
        deleted (`Counter[tuple[str, ...]]`): Word of a reference that was not heard.
        inserted (`Counter[tuple[str, ...]]`): Word that was heard and not said.
    """

    substituted: Counter[tuple[str, ...]] = field(default_factory=Counter)
    deleted: Counter[tuple[str, ...]] = field(default_factory=Counter)
    inserted: Counter[tuple[str, ...]] = field(default_factory=Counter)


def confusions(references: Sequence[str], hypotheses: Sequence[str]) -> Confusions:
    """
    Counts the errors of many utterances; only those that differ are aligned.

    Args:
        references (`Sequence[str]`): What was said.
        hypotheses (`Sequence[str]`): What was heard, in the same order.
    """
    differing = [pair for pair in zip(references, hypotheses, strict=True) if pair[0] != pair[1]]
    counted = Confusions()
    for chunks in align_all([said for said, _ in differing], [heard for _, heard in differing]):
        for chunk in chunks:
            if chunk.kind == "substitute":
                counted.substituted.update(zip(chunk.reference, chunk.hypothesis, strict=True))
            elif chunk.kind == "delete":
                counted.deleted.update(zip(chunk.reference))
            elif chunk.kind == "insert":
                counted.inserted.update(zip(chunk.hypothesis))
    return counted
