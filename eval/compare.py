"""One evaluation against another: by the same clips where the predictions are there, else by the records alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from escoita.evaluation import CorpusResult, EvaluationRecord, Interval, Rates
from escoita.predictions import predictions_path, public, read_predictions
from escoita.scoring import word_edits
from escoita.text import NORMALIZERS, normalizer
from eval.bootstrap import Verdict, resampling_unit, smallest_p_value, verdict_of
from eval.tally import Counts, Key, Tally, pooled, tally


NEW, OLD = "new", "old"


@dataclass(frozen=True)
class Evaluated:
    """
    What was judged in one evaluation.

    Args:
        folder (`Path`): Holds the record, and the predictions where they are there.
        record ([`~escoita.evaluation.EvaluationRecord`]): What came of it.
        raw (`bool`): Whether the texts are compared as they are.
    """

    folder: Path
    record: EvaluationRecord
    raw: bool

    def rates(self, result: CorpusResult) -> Rates:
        """Rates of what was judged, as they are compared."""
        return result.judged.raw if self.raw else result.judged.normalized


@dataclass(frozen=True)
class Compared:
    """
    The new against the old on one corpus, or on all that both have.

    Args:
        name (`str`): The corpus, or `pooled`.
        clips (`tuple[int, int]`): Utterances of the new and of the old.
        wer (`tuple[float, float]`): Their word error rates.
        difference (`float`): New minus old; below 0 is better.
        ci95 (`tuple[float, float]`): Its 95 % interval.
        p_value (`float`, *optional*): Two-sided; absent where the intervals of the records were compared.
        verdict (`str`): `better`, `worse` or `no measurable difference`.
        how (`str`): What was compared: the same clips, or the intervals of the records and why.
    """

    name: str
    clips: tuple[int, int]
    wer: tuple[float, float]
    difference: float
    ci95: Interval
    p_value: float | None
    verdict: Verdict
    how: str


def compare(new: Evaluated, old: Evaluated) -> list[Compared]:
    """
    Compares all corpora that both evaluations have, and these together where there are several.

    Args:
        new ([`Evaluated`]): What is judged.
        old ([`Evaluated`]): What it is judged against, under the same normaliser or with the texts as they are.

    Raises:
        RecordError: Predictions that are there cannot be read.
    """
    before = {result.name: result for result in old.record.corpora}
    pairs = [(result, before[result.name]) for result in new.record.corpora if result.name in before]
    tallies = [_paired(new, old, *pair) for pair in pairs]
    rows = [
        _by_clips(ours.name, (ours.n, theirs.n), found)
        if isinstance(found, Tally)
        else _by_intervals(ours.name, new, old, [(ours, theirs)], f"intervals ({found})")
        for (ours, theirs), found in zip(pairs, tallies, strict=True)
    ]
    if len(pairs) > 1:
        clips = (sum(ours.n for ours, _ in pairs), sum(theirs.n for _, theirs in pairs))
        together = [found for found in tallies if isinstance(found, Tally)]
        if len(together) == len(pairs):
            rows.append(_by_clips("pooled", clips, pooled(together)))
        else:
            rows.append(_by_intervals("pooled", new, old, pairs, "intervals"))
    return rows


def recovered(parts: Sequence[tuple[float, float, Interval]]) -> tuple[float, Interval]:
    """
    A weighted sum of estimates and its interval, from the estimates' own intervals alone: the method of variance
    estimates recovery (MOVER; Zou and Donner 2008, "Construction of confidence intervals about effect measures").

    It takes the estimates for independent. Rates on the same clips rise and fall together, and the interval of their
    difference is then wider than it need be: on the careful side.

    Args:
        parts (`Sequence[tuple[float, float, tuple[float, float]]]`): Weight, negative for what is subtracted,
            estimate, and interval of each.

    Returns:
        `tuple[float, tuple[float, float]]`: The sum, and its bounds.
    """
    value = below = above = 0.0
    for weight, estimate, (low, high) in parts:
        value += weight * estimate
        down, up = sorted((weight * low, weight * high))
        below += (weight * estimate - down) ** 2
        above += (up - weight * estimate) ** 2
    return value, (value - sqrt(below), value + sqrt(above))


def _paired(new: Evaluated, old: Evaluated, ours: CorpusResult, theirs: CorpusResult) -> Tally | str:
    """Sums of both over the same draws of their clips; or why there are none."""
    tables, told, open_references = [], [], []
    for side in (new, old):
        path = predictions_path(side.folder, ours.name, side.record.judged.name)
        if not path.is_file():
            return "no predictions"
        table, provenance = read_predictions(path)
        tables.append(table)
        told.append(public(table, provenance, withheld=True)[0])  # the same, whichever side was published
        if provenance.references == "open":
            open_references = table["reference"].to_pylist()
    if not all(told[0][column].equals(told[1][column]) for column in ("id", "reference")):
        return "other clips"
    if not open_references and len(tables[0]):
        return "references not published"
    name = "raw" if new.raw else new.record.normalizer
    if name not in NORMALIZERS:
        return f"no normaliser {name} here"
    normalise = normalizer(name)
    references = [normalise(text) for text in open_references]
    columns: dict[Key, np.ndarray] = {}
    for which, side, result, table in zip((NEW, OLD), (new, old), (ours, theirs), tables, strict=True):
        edits = word_edits(references, [normalise(text) for text in table["hypothesis"].to_pylist()])
        rates = side.rates(result)
        if (edits.total.sum(), edits.reference.sum()) != (rates.edits, rates.reference_words):
            return "predictions of another time"
        columns |= {("raw", "words"): edits.reference, ("raw", "words", which): edits.total}
    speakers = told[0]["speaker"].to_pylist()
    counts = Counts(columns, *resampling_unit(speakers), speakers, 0, 0, {})
    return tally(ours.name, counts, new.record.resamples)


def _by_clips(name: str, clips: tuple[int, int], tallied: Tally) -> Compared:
    found = tallied.difference("raw", NEW, OLD)
    wer = (tallied.rate("raw", "words", NEW)[0], tallied.rate("raw", "words", OLD)[0])
    return Compared(name, clips, wer, found.value, found.ci95, found.p_value, found.verdict, "the same clips")


def _by_intervals(
    name: str, new: Evaluated, old: Evaluated, pairs: Sequence[tuple[CorpusResult, CorpusResult]], how: str
) -> Compared:
    ours, theirs = [new.rates(result) for result, _ in pairs], [old.rates(result) for _, result in pairs]
    our_weights, their_weights = _weights(ours), _weights(theirs)
    parts = [(weight, rates.wer, rates.wer_ci95) for weight, rates in zip(our_weights, ours, strict=True)]
    parts += [(-weight, rates.wer, rates.wer_ci95) for weight, rates in zip(their_weights, theirs, strict=True)]
    value, ci95 = recovered(parts)
    wer = sum(weight * rates.wer for weight, rates in zip(our_weights, ours, strict=True))
    clips = (sum(result.n for result, _ in pairs), sum(result.n for _, result in pairs))
    units = sum(min(result.units, other.units) for result, other in pairs)
    return Compared(name, clips, (wer, wer - value), value, ci95, None, verdict_of(ci95, smallest_p_value(units)), how)


def _weights(rates: Sequence[Rates]) -> list[float]:
    """Of each corpus in the pool, by its words."""
    words = sum(rate.reference_words for rate in rates)
    return [rate.reference_words / words if words else 1 / len(rates) for rate in rates]
