"""Counting edits. jiwer is the definition; rapidfuzz, its own engine, counts many utterances fast."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jiwer.transformations import cer_default, wer_default
from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True)
class Edits:
    """
    Edits of each utterance, and what they are measured against.

    Args:
        substitutions (`np.ndarray`): Of shape `(utterances,)`, integers.
        deletions (`np.ndarray`): The same.
        insertions (`np.ndarray`): The same.
        reference (`np.ndarray`): Tokens of each reference.
    """

    substitutions: np.ndarray
    deletions: np.ndarray
    insertions: np.ndarray
    reference: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """All edits of each utterance."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Corpus rate: sum of edits over sum of reference tokens, a fraction; not the mean over utterances."""
        return float(self.total.sum() / max(1, self.reference.sum()))


def word_edits(references: Sequence[str], hypotheses: Sequence[str]) -> Edits:
    """Edits in words, split as jiwer's default does."""
    return _edits(*([wer_default(text)[0] for text in texts] for texts in (references, hypotheses)))


def character_edits(references: Sequence[str], hypotheses: Sequence[str]) -> Edits:
    """Edits in characters, edge spaces left out and inner ones counted, as jiwer's default does."""
    return _edits(*([cer_default(text)[0] for text in texts] for texts in (references, hypotheses)))


def _edits(references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]]) -> Edits:
    counts = np.zeros((len(references), 4), dtype=np.int64)
    for row, (reference, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        for operation in Levenshtein.editops(reference, hypothesis):
            counts[row, ("replace", "delete", "insert").index(operation.tag)] += 1
        counts[row, 3] = len(reference)
    return Edits(*counts.T)
