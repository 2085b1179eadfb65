"""Read predictions for the report, and count confusions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from escoita.evaluation.errors import HashedReferencesError, MissingSystemError, OtherPredictionsError
from escoita.evaluation.prediction_folder import read_folder
from escoita.metrics.normalizers import normalizer
from escoita.metrics.wer import align_all, word_edits
from escoita.records.evaluation import CorpusResult, EvaluationRecord


@dataclass(frozen=True)
class ScoredPredictions:
    """
    Hold the predictions of one system on one corpus, normalized and scored.

    Args:
        corpus (`str`): Name of the corpus.
        rows (`pa.Table`): Predictions from [`~escoita.evaluation.predictions.read_predictions`].
        references (`list[str]`): Normalized references.
        hypotheses (`list[str]`): Normalized hypotheses.
        edits (`np.ndarray`): Number of word edits of each utterance.
        words (`np.ndarray`): Number of words of each reference.
    """

    corpus: str
    rows: pa.Table
    references: list[str]
    hypotheses: list[str]
    edits: np.ndarray
    words: np.ndarray

    @property
    def wer(self) -> np.ndarray:
        """Return the word error rate of each utterance; for an empty reference, the number of inserted words."""
        return self.edits / np.maximum(1, self.words)


def read_scored_predictions(folder: Path, record: EvaluationRecord) -> dict[str, list[ScoredPredictions]]:
    """
    Read and score the predictions of the systems of a record.

    Args:
        folder (`Path`): Folder with the predictions.
        record ([`~escoita.records.evaluation.EvaluationRecord`]): Record of these predictions.

    Returns:
        `dict[str, list[ScoredPredictions]]`: Corpora of each system, both in the order of the record.

    Raises:
        HashedReferencesError: The references of a corpus were not published.
        MissingSystemError: A system has no predictions on a corpus.
        OtherPredictionsError: The record was computed from other predictions.
        RecordError: A file cannot be read.
    """
    names = [system.name for system in record.systems]
    _, read = read_folder(folder, [corpus.name for corpus in record.corpora], names)
    scored: dict[str, list[ScoredPredictions]] = {name: [] for name in names}
    for result, corpus in zip(record.corpora, read, strict=True):
        if corpus.counts:
            raise HashedReferencesError(path=folder / result.name)
        for name in names:
            if name not in corpus.tables:
                raise MissingSystemError(path=folder / result.name, system=name)
            part = _counted(result.name, corpus.tables[name], record.normalizer)
            if not _made_from(result, name, part):
                raise OtherPredictionsError(
                    f"results.json was computed from other predictions of {name}", path=folder / result.name
                )
            scored[name].append(part)
    return scored


def _counted(corpus: str, rows: pa.Table, normalizer_name: str) -> ScoredPredictions:
    normalize = normalizer(normalizer_name)
    references, hypotheses = (
        [normalize(text) for text in rows[name].to_pylist()] for name in ("reference", "hypothesis")
    )
    edits = word_edits(references, hypotheses)
    return ScoredPredictions(corpus, rows, references, hypotheses, edits.total, edits.reference)


def _made_from(result: CorpusResult, system: str, part: ScoredPredictions) -> bool:
    """Return whether the predictions give the figures of the record."""
    if (recorded := result.of(system)) is None:
        return False
    rates = recorded.normalized
    return (result.n, rates.edits, rates.reference_words) == (len(part.edits), part.edits.sum(), part.words.sum())


@dataclass(frozen=True)
class Confusions:
    """
    Store how often each word was substituted, deleted or inserted.

    Args:
        substituted (`Counter[tuple[str, ...]]`): Number of substitutions, by reference word and hypothesis word.
        deleted (`Counter[tuple[str, ...]]`): Number of deletions, by reference word.
        inserted (`Counter[tuple[str, ...]]`): Number of insertions, by hypothesis word.
    """

    substituted: Counter[tuple[str, ...]] = field(default_factory=Counter)
    deleted: Counter[tuple[str, ...]] = field(default_factory=Counter)
    inserted: Counter[tuple[str, ...]] = field(default_factory=Counter)


def confusions(references: Sequence[str], hypotheses: Sequence[str]) -> Confusions:
    """
    Count the word errors of utterances.

    Args:
        references (`Sequence[str]`): Normalized references.
        hypotheses (`Sequence[str]`): Normalized hypotheses, in the same order.
    """
    differing = [pair for pair in zip(references, hypotheses, strict=True) if pair[0] != pair[1]]
    counted = Confusions()
    for chunks in align_all([reference for reference, _ in differing], [hypothesis for _, hypothesis in differing]):
        for chunk in chunks:
            if chunk.kind == "substitute":
                counted.substituted.update(zip(chunk.reference, chunk.hypothesis, strict=True))
            elif chunk.kind == "delete":
                counted.deleted.update(zip(chunk.reference))
            elif chunk.kind == "insert":
                counted.inserted.update(zip(chunk.hypothesis))
    return counted
