"""Counting edits. jiwer is the definition; rapidfuzz, its own engine, counts many utterances fast."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jiwer.transformations import wer_default
from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True)
class Edits:
    """
    Edits of each utterance, and what they are measured against.

    Args:
        total (`np.ndarray`): Edits, of shape `(utterances,)`, int64.
        reference (`np.ndarray`): Tokens of each reference, of the same shape and type.
    """

    total: np.ndarray
    reference: np.ndarray

    @property
    def rate(self) -> float:
        """Corpus rate: sum of edits over sum of reference tokens, a fraction; not the mean over utterances."""
        return float(self.total.sum() / max(1, self.reference.sum()))


@dataclass(frozen=True)
class WordEdits(Edits):
    """
    Edits in words, and their kinds.

    Args:
        total (`np.ndarray`): As in [`Edits`]; the sum of the three kinds.
        reference (`np.ndarray`): As in [`Edits`].
        substitutions (`np.ndarray`): Of shape `(utterances,)`, int64.
        deletions (`np.ndarray`): The same.
        insertions (`np.ndarray`): The same.
    """

    substitutions: np.ndarray
    deletions: np.ndarray
    insertions: np.ndarray


def word_edits(references: Sequence[str], hypotheses: Sequence[str]) -> WordEdits:
    """
    Edits in words, split as jiwer's default does.

    Args:
        references (`Sequence[str]`): What was said, one text for each utterance.
        hypotheses (`Sequence[str]`): What was heard, in the same order.

    Raises:
        ValueError: There are more of the one than of the other.
    """
    lengths = []
    kinds = {kind: np.zeros(len(references), np.int64) for kind in ("replace", "delete", "insert")}
    for row, (reference, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        words = _words(reference)
        lengths.append(len(words))
        if reference != hypothesis:
            for operation in Levenshtein.editops(words, _words(hypothesis)):
                kinds[operation.tag][row] += 1
    return WordEdits(sum(kinds.values()), np.array(lengths, np.int64), *kinds.values())


def character_edits(references: Sequence[str], hypotheses: Sequence[str]) -> Edits:
    """
    Edits in characters, edge spaces left out and inner ones counted, as jiwer's default does.

    Their kinds are not told apart: nobody reads them, and without them the count takes a fraction of the time.

    Args:
        references (`Sequence[str]`): What was said, one text for each utterance.
        hypotheses (`Sequence[str]`): What was heard, in the same order.

    Raises:
        ValueError: There are more of the one than of the other.
    """
    stripped = [(said.strip(), heard.strip()) for said, heard in zip(references, hypotheses, strict=True)]
    total = [Levenshtein.distance(said, heard) for said, heard in stripped]
    return Edits(np.array(total, np.int64), np.array([len(said) for said, _ in stripped], np.int64))


def _words(text: str) -> list[str]:
    """Words as jiwer's default splits them, to which a lone tab or no-break space within a text is no boundary."""
    words = text.split()
    # Nearly all texts have single plain spaces only, and these split the same way in half the time.
    return words if " ".join(words) == text else wer_default(text)[0]
