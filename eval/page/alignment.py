"""Which words were heard as which: jiwer's alignment of one utterance, and the confusions of many."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
