"""Sum the counts of corpora and of their bootstrap resamples."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np

from escoita.evaluation.bootstrap import (
    FEWEST_SPEAKERS,
    PairedDifference,
    difference,
    rates,
    resampled,
    resampling_unit,
    seed_of,
    smallest_p_value,
    summed,
)
from escoita.evaluation.counts import CHANGES, FORMS, KINDS, Form, Key, count_utterances, read_counts
from escoita.evaluation.prediction_folder import CorpusPredictions
from escoita.evaluation.speakers import difference_interval, pooled_interval, rate_interval
from escoita.metrics.error_types import FAULTS
from escoita.records.evaluation import Interval, Tokens


@dataclass(frozen=True)
class Counts:
    """
    Store the counts of one corpus.

    Args:
        columns (`dict[tuple, np.ndarray]`): Counts of each key, of shape `(utterances,)`.
        unit (`str`): Resampling unit of the bootstrap, `speaker` or `utterance`.
        units (`int`): Number of resampling units.
        speakers (`list[str]`): Speaker of each utterance.
        merged (`int`): Number of references in which the normalizer reduces the number of words.
        split (`int`): Number of references in which the normalizer increases the number of words.
        faults (`dict[str, dict[str, int]]`): Number of utterances with each fault, by system.
        unusable (`dict[str, int]`): Number of hypotheses that are empty or loop, by system; each is counted once.
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
    Store sums over one corpus, or over several that are resampled independently.

    Args:
        units (`int`): Number of speakers or utterances that were resampled.
        observed (`dict[tuple, int]`): Sums over the corpus.
        drawn (`dict[tuple, np.ndarray]`): Sums over its resamples, of shape `(resamples,)`, all from the same draws;
            without the kinds of edits.
        by_speaker (`tuple[dict[tuple, np.ndarray] | None, ...]`): For each corpus, sums of each speaker, of shape
            `(speakers,)`, without the kinds of edits; None if a clip has no speaker.
    """

    units: int
    observed: dict[Key, int]
    drawn: dict[Key, np.ndarray]
    by_speaker: tuple[dict[Key, np.ndarray] | None, ...]

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.units + other.units,
            {key: total + other.observed[key] for key, total in self.observed.items()},
            {key: self.drawn[key] + other.drawn[key] for key in self.drawn},
            self.by_speaker + other.by_speaker,
        )

    @property
    def speakers(self) -> int | None:
        """Return the number of speakers, or None if a clip has no speaker."""
        numbers = [_number(sums) for sums in self.by_speaker if sums is not None]
        return sum(numbers) if len(numbers) == len(self.by_speaker) else None

    @property
    def few_speakers(self) -> bool:
        """Return whether clips of fewer than ten speakers are resampled, in at least one corpus."""
        return any(sums is not None and 0 < _number(sums) < FEWEST_SPEAKERS for sums in self.by_speaker)

    def speaker_rate(self, form: Form, tokens: Tokens, system: str) -> Interval | None:
        """Return the interval of a rate over speakers, if there are few of them and the method has a result."""
        if not self.few_speakers:
            return None
        return pooled_interval(
            (sums[form, tokens, system], sums[form, tokens], rate_interval) if sums else None
            for sums in self.by_speaker
        )

    def speaker_difference(self, form: Form, system: str, other: str, tokens: Tokens = "words") -> Interval | None:
        """Return the interval of the difference of two error rates over speakers, on the same condition."""
        if not self.few_speakers:
            return None
        return pooled_interval(
            (sums[form, tokens, system] - sums[form, tokens, other], sums[form, tokens], difference_interval)
            if sums
            else None
            for sums in self.by_speaker
        )

    def rate(self, form: Form, tokens: Tokens, system: str) -> tuple[float, np.ndarray]:
        """Return the rate of a system, and its rates on the resamples, of shape `(resamples,)`."""
        edits, reference = (form, tokens, system), (form, tokens)
        observed = self.observed[edits] / max(1, self.observed[reference])
        return observed, rates(self.drawn[edits], self.drawn[reference])

    def difference(self, form: Form, system: str, other: str, tokens: Tokens = "words") -> PairedDifference:
        """
        Return the error rate of one system minus that of another, in words or in characters.

        The p-value is never below [`smallest_p_value`], so few pairs give no significant difference.
        """
        (observed, drawn), (other_observed, other_drawn) = (self.rate(form, tokens, name) for name in (system, other))
        return difference(observed, other_observed, drawn, other_drawn, smallest_p_value(self.units))


def count(corpus: CorpusPredictions, normalizer_name: str, compose: bool = True) -> Counts:
    """
    Count the edits and faults of all systems in one corpus.

    Args:
        corpus ([`CorpusPredictions`]): References and hypotheses; if the references are hashed, their counts are read.
        normalizer_name (`str`): Normalizer of the form `normalized`; the form `raw` is counted too.
        compose (`bool`, *optional*, defaults to `True`): Whether raw texts are composed (NFC).

    Raises:
        RecordError: The references are hashed, and their counts are missing or do not match.
    """
    counted = (
        read_counts(corpus.counts, corpus, normalizer_name)
        if corpus.counts
        else count_utterances(corpus, normalizer_name, compose)
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
    Sum the counts of a corpus and of its bootstrap resamples.

    Args:
        name (`str`): Name of the corpus, which determines the random numbers.
        counts ([`Counts`]): Counts of its utterances.
        resamples (`int`): Number of resamples.
    """
    observed = {key: int(column.sum()) for key, column in counts.columns.items()}
    keys = [key for key in counts.columns if key[1] not in KINDS]
    if not counts.units:
        return Tally(0, observed, dict.fromkeys(keys, np.zeros(resamples)), (None,))
    matrix = np.stack([counts.columns[key] for key in keys], axis=1)
    groups = counts.speakers if counts.unit == "speaker" else None
    sums = resampled(matrix, resamples, groups, seed_of(name))
    by_speaker = None if "" in counts.speakers else dict(zip(keys, summed(matrix, counts.speakers).T, strict=True))
    return Tally(counts.units, observed, dict(zip(keys, sums.T, strict=True)), (by_speaker,))


def pooled(tallies: Sequence[Tally]) -> Tally:
    """Return the sums over all corpora, each resampled by itself (stratified)."""
    return reduce(lambda left, right: left + right, tallies)


def _number(sums: dict[Key, np.ndarray]) -> int:
    """Return the number of speakers of sums."""
    return len(next(iter(sums.values())))
