"""Read predictions for the report, and count confusions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import category

import numpy as np
import pyarrow as pa

from escoita.evaluation.errors import HashedReferencesError, MissingSystemError, OtherPredictionsError
from escoita.evaluation.prediction_folder import read_folder
from escoita.metrics.normalizers import normalizer
from escoita.metrics.wer import align_all, character_edits, word_edits
from escoita.records.evaluation import CorpusResult, EvaluationRecord, Metric


@dataclass(frozen=True)
class ScoredPredictions:
    """
    Hold the predictions of one system on one corpus, normalized and scored.

    Args:
        corpus (`str`): Name of the corpus.
        rows (`pa.Table`): Predictions from [`~escoita.evaluation.predictions.read_predictions`].
        references (`list[str]`): Normalized references; if the CER is the primary metric, with spaces between
            characters, so that alignments and confusions are those of characters.
        hypotheses (`list[str]`): Normalized hypotheses, in the same form.
        edits (`np.ndarray`): Number of edits of each utterance, in words, or in characters for the CER.
        words (`np.ndarray`): Number of words, or characters, of each reference.
    """

    corpus: str
    rows: pa.Table
    references: list[str]
    hypotheses: list[str]
    edits: np.ndarray
    words: np.ndarray

    @property
    def rates(self) -> np.ndarray:
        """Return the primary error rate of each utterance; for an empty reference, the number of insertions."""
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
            part = _counted(result.name, corpus.tables[name], record)
            if not _made_from(result, name, part, record.primary):
                raise OtherPredictionsError(
                    f"results.json was computed from other predictions of {name}", path=folder / result.name
                )
            scored[name].append(part)
    return scored


def _counted(corpus: str, rows: pa.Table, record: EvaluationRecord) -> ScoredPredictions:
    normalize = normalizer(record.normalizer)
    references, hypotheses = (
        [normalize(text) for text in rows[name].to_pylist()] for name in ("reference", "hypothesis")
    )
    if record.primary == "cer":
        edits = character_edits(references, hypotheses)
        references, hypotheses = ([_spaced(text) for text in texts] for texts in (references, hypotheses))
    else:
        edits = word_edits(references, hypotheses)
    return ScoredPredictions(corpus, rows, references, hypotheses, edits.total, edits.reference)


def _spaced(text: str) -> str:
    """Return a text with spaces between its characters, each of them with its marks."""
    spaced = "".join(char if category(char)[0] == "M" else f" {char}" for char in text)
    return " ".join(spaced.split())


def _made_from(result: CorpusResult, system: str, part: ScoredPredictions, primary: Metric) -> bool:
    """Return whether the predictions give the figures of the record."""
    if (recorded := result.of(system)) is None:
        return False
    rates, edits, length = recorded.normalized, part.edits.sum(), part.words.sum()
    made = edits == (rates.edits if primary == "wer" else round(rates.cer * rates.reference_characters))
    return bool(made) and (result.n, rates.tokens(primary)) == (len(part.edits), length)


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
