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


Kind = Literal["equal", "substitute", "delete", "insert"]
# Utterances aligned by one call of jiwer: enough to be fast, few enough to stay small in memory.
_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    Words of a reference and what was heard in their place.

    Args:
        kind (`str`): `equal`, `substitute`, `delete` or `insert`.
        reference (`tuple[str, ...]`): Words of the reference; none of an insertion.
        hypothesis (`tuple[str, ...]`): Words that were heard, of a substitution as many; none of a deletion.
    """

    kind: Kind
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]


def align(reference: str, hypothesis: str) -> list[Chunk]:
    """
    Aligns two texts word by word.

    Args:
        reference (`str`): What was said.
        hypothesis (`str`): What was heard.

    Returns:
        `list[Chunk]`: In order; together they hold every word of both, split as jiwer's default does.
    """
    return next(align_all([reference], [hypothesis]))


def align_all(references: Sequence[str], hypotheses: Sequence[str]) -> Iterator[list[Chunk]]:
    """[`align`] of each pair, in order."""
    for start in range(0, len(references), _AT_ONCE):
        block = slice(start, start + _AT_ONCE)
        output = jiwer.process_words(list(references[block]), list(hypotheses[block]))
        for said, heard, chunks in zip(output.references, output.hypotheses, output.alignments, strict=True):
            yield [
                Chunk(
                    chunk.type,  # type: ignore[arg-type]  # a plain string there
                    tuple(said[chunk.ref_start_idx : chunk.ref_end_idx]),
                    tuple(heard[chunk.hyp_start_idx : chunk.hyp_end_idx]),
                )
                for chunk in chunks
            ]
