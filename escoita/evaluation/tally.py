"""Edits of a corpus by utterance, their sums, and the sums over corpora drawn anew, from which all rates are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np

from escoita.evaluation.bootstrap import (
    PairedDifference,
    difference,
    rates,
    resampled,
    resampling_unit,
    seed_of,
    smallest_p_value,
)
from escoita.evaluation.counts import CHANGES, FORMS, KINDS, Form, Key, Tokens, count_utterances, read_counts
from escoita.metrics.error_types import FAULTS
from escoita.evaluation.prediction_folder import CorpusPredictions


@dataclass(frozen=True)
class Counts:
    """
    What is counted in one corpus.

    Args:
        columns (`dict[tuple, np.ndarray]`): For each key the counts, of shape `(utterances,)`.
        unit (`str`): What the bootstrap is to draw, `speaker` or `utterance`.
        units (`int`): How many there are.
        speakers (`list[str]`): Of each utterance.
        merged (`int`): References of which the normaliser makes fewer words, or none.
        split (`int`): References of which it makes more.
        faults (`dict[str, dict[str, int]]`): Of each system, how many utterances have which.
        unusable (`dict[str, int]`): Of each system, how many hypotheses are empty or loop, each counted once.
    """

    columns: dict[Key, np.ndarray]
    unit: Literal["utterance", "speaker"]
    units: int
    speakers: list[str]
    merged: int
    split: int
    faults: dict[str, dict[str, int]]
    unusable: dict[str, int]


@dataclass(frozen=True)
class Tally:
    """
    Sums over one corpus, or over several that are drawn each by itself.

    Args:
        units (`int`): Speakers or utterances that were drawn.
        observed (`dict[tuple, int]`): The sums.
        drawn (`dict[tuple, np.ndarray]`): The same of corpora drawn anew, of shape `(resamples,)`, all of one draw;
            not of the kinds of edits.
    """

    units: int
    observed: dict[Key, int]
    drawn: dict[Key, np.ndarray]

    def __add__(self, other: "Tally") -> "Tally":
        observed = {key: total + other.observed[key] for key, total in self.observed.items()}
        return Tally(
            self.units + other.units, observed, {key: self.drawn[key] + other.drawn[key] for key in self.drawn}
        )

    def rate(self, form: Form, tokens: Tokens, system: str) -> tuple[float, np.ndarray]:
        """The rate of a system, and its rates on the corpora drawn anew; of shape `(resamples,)`."""
        edits, reference = (form, tokens, system), (form, tokens)
        observed = self.observed[edits] / max(1, self.observed[reference])
        return observed, rates(self.drawn[edits], self.drawn[reference])

    def difference(self, form: Form, system: str, other: str) -> PairedDifference:
        """
        Word error rate of one system minus that of another.

        No p-value is below [`smallest_p_value`], and of too few pairs nothing can be said.
        """
        (observed, drawn), (other_observed, other_drawn) = (self.rate(form, "words", name) for name in (system, other))
        return difference(observed, other_observed, drawn, other_drawn, smallest_p_value(self.units))


def count(corpus: CorpusPredictions, normalizer_name: str) -> Counts:
    """
    Counts the edits and faults of all systems in one corpus.

    Args:
        corpus ([`~escoita.evaluation.prediction_folder.CorpusPredictions`]): References and what was heard; where the references are hashed,
            what was counted of them before.
        normalizer_name (`str`): Of the form `normalized`; the texts as they are, `raw`, are counted too.

    Raises:
        RecordError: The references are hashed, and their counts are missing or of something else.
    """
    counted = (
        read_counts(corpus.counts, corpus, normalizer_name)
        if corpus.counts
        else count_utterances(corpus, normalizer_name)
    )
    speakers = corpus.clips["speaker"].to_pylist()
    faults = {
        system: {fault: int(counted["faults", fault, system].sum()) for fault in FAULTS} for system in corpus.tables
    }
    unusable = {
        system: int((counted["faults", "empty", system] | counted["faults", "loop", system]).sum())
        for system in corpus.tables
    }
    merged, split = (int(counted["references", change].sum()) for change in CHANGES)
    columns = {key: column for key, column in counted.items() if key[0] in FORMS}
    return Counts(columns, *resampling_unit(speakers), speakers, merged, split, faults, unusable)


def tally(name: str, counts: Counts, resamples: int) -> Tally:
    """
    Sums the counts of a corpus, and draws it anew.

    Args:
        name (`str`): The corpus, which has a stream of draws of its own.
        counts ([`Counts`]): Of its utterances.
        resamples (`int`): How often it is drawn.
    """
    observed = {key: int(column.sum()) for key, column in counts.columns.items()}
    keys = [key for key in counts.columns if key[1] not in KINDS]
    if not counts.units:
        return Tally(0, observed, dict.fromkeys(keys, np.zeros(resamples)))
    matrix = np.stack([counts.columns[key] for key in keys], axis=1)
    groups = counts.speakers if counts.unit == "speaker" else None
    sums = resampled(matrix, resamples, groups, seed_of(name))
    return Tally(counts.units, observed, dict(zip(keys, sums.T, strict=True)))


def pooled(tallies: Sequence[Tally]) -> Tally:
    """All corpora together, each drawn by itself (stratified)."""
    return reduce(lambda left, right: left + right, tallies)
