"""Count the edits of word and character error rates, and align two texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import jiwer
import numpy as np
from jiwer.transformations import wer_default
from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True)
class Edits:
    """
    Store the edits and the reference tokens of each utterance.

    Args:
        total (`np.ndarray`): The number of edits, of shape `(utterances,)`, int64.
        reference (`np.ndarray`): The number of tokens of each reference, of the same shape and type.
    """

    total: np.ndarray
    reference: np.ndarray

    @property
    def rate(self) -> float:
        """Return the corpus rate as a fraction: the sum of edits divided by the sum of reference tokens."""
        return float(self.total.sum() / max(1, self.reference.sum()))


@dataclass(frozen=True)
class WordEdits(Edits):
    """
    Store the word edits of each utterance by kind.

    Args:
        total (`np.ndarray`): The sum of the three kinds; see [`Edits`].
        reference (`np.ndarray`): The number of words of each reference; see [`Edits`].
        substitutions (`np.ndarray`): The number of substitutions, of shape `(utterances,)`, int64.
        deletions (`np.ndarray`): The number of deletions, of the same shape and type.
        insertions (`np.ndarray`): The number of insertions, of the same shape and type.
    """

    substitutions: np.ndarray
    deletions: np.ndarray
    insertions: np.ndarray


def word_edits(references: Sequence[str], hypotheses: Sequence[str]) -> WordEdits:
    """
    Count edits in words, which are split as by jiwer's default.

    Args:
        references (`Sequence[str]`): The references, one for each utterance.
        hypotheses (`Sequence[str]`): The hypotheses in the same order.

    Raises:
        ValueError: The two sequences have different lengths.
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
    Count edits in characters, without edge spaces and with inner ones, as by jiwer's default.

    The kinds of edits are not counted: they are not used, and without them counting takes a fraction of the time.

    Args:
        references (`Sequence[str]`): The references, one for each utterance.
        hypotheses (`Sequence[str]`): The hypotheses in the same order.

    Raises:
        ValueError: The two sequences have different lengths.
    """
    pairs = [
        (reference.strip(), hypothesis.strip()) for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]
    total = [Levenshtein.distance(reference, hypothesis) for reference, hypothesis in pairs]
    return Edits(np.array(total, np.int64), np.array([len(reference) for reference, _ in pairs], np.int64))


def _words(text: str) -> list[str]:
    """Split words as jiwer's default does, which does not split at a single tab or no-break space within a text."""
    words = text.split()
    # Nearly all texts have single ordinary spaces only, for which this gives the same result in half the time.
    return words if " ".join(words) == text else wer_default(text)[0]


Kind = Literal["equal", "substitute", "delete", "insert"]
# The number of utterances aligned by one call of jiwer: enough to be fast, few enough to need little memory.
_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    Store words of a reference and the aligned words of a hypothesis.

    Args:
        kind (`str`): The kind: `equal`, `substitute`, `delete` or `insert`.
        reference (`tuple[str, ...]`): The words of the reference; empty for an insertion.
        hypothesis (`tuple[str, ...]`): The words of the hypothesis, as many for a substitution; empty for a deletion.
    """

    kind: Kind
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]


def align(reference: str, hypothesis: str) -> list[Chunk]:
    """
    Align two texts word by word.

    Args:
        reference (`str`): The reference.
        hypothesis (`str`): The hypothesis.

    Returns:
        `list[Chunk]`: The chunks in order, with all words of both texts, split as by jiwer's default.
    """
    return next(align_all([reference], [hypothesis]))


def align_all(references: Sequence[str], hypotheses: Sequence[str]) -> Iterator[list[Chunk]]:
    """Yield the result of [`align`] for each pair, in order."""
    for start in range(0, len(references), _AT_ONCE):
        block = slice(start, start + _AT_ONCE)
        output = jiwer.process_words(list(references[block]), list(hypotheses[block]))
        for reference, hypothesis, chunks in zip(output.references, output.hypotheses, output.alignments, strict=True):
            yield [
                Chunk(
                    chunk.type,  # type: ignore[arg-type]  # a plain string in jiwer
                    tuple(reference[chunk.ref_start_idx : chunk.ref_end_idx]),
                    tuple(hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]),
                )
                for chunk in chunks
            ]
