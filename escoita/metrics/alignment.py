"""Which words were heard as which: jiwer's alignment of two texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import jiwer


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
