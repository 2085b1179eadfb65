"""What is heard instead of what, over many utterances."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from escoita.metrics.alignment import align_all


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
