"""Compare one evaluation with another, and take over predictions of an earlier revision."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from escoita.data.rows import Utterances
from escoita.errors import EscoitaError, RecordError
from escoita.evaluation.aggregate import Counts, Key, Tally, pooled, tally
from escoita.evaluation.bootstrap import resampling_unit, smallest_p_value, verdict_of
from escoita.evaluation.predictions import (
    described,
    opened,
    predictions_path,
    public,
    public_ids,
    read_predictions,
    replaced,
    write_predictions,
)
from escoita.evaluation.verdicts import Outcome, disagree, unusable, verdict
from escoita.hub.files import local_file, split_revision
from escoita.metrics.normalizers import NORMALIZERS, normalizer
from escoita.metrics.wer import word_edits
from escoita.records.evaluation import (
    EARLIER,
    SUBJECT,
    CorpusResult,
    EvaluationRecord,
    Interval,
    Measured,
    Rates,
    Verdict,
)
from escoita.utils.files import public_name


def take_earlier(against: str, tests: dict[str, Utterances], out: Path) -> None:
    """
    Copies what the adapter of another run, or of a published revision, heard in the same clips.

    Args:
        against (`str`): A run directory, or `user/name`, or `user/name@revision`.
        tests (`dict[str, Utterances]`): The clips of each corpus.
        out (`Path`): Where the predictions of this evaluation go.

    Raises:
        EscoitaError: There are none, they are of other clips, or those that are about to be written anew.
    """
    source, revision = split_revision(against)
    if (Path(source) / "eval").resolve() == out.resolve():
        raise EscoitaError(f"{against}: is what is evaluated here; compare with a copy of what it was before")
    for corpus, clips in tests.items():
        found = local_file(source, str(predictions_path(Path("eval"), corpus, SUBJECT)), revision)
        table, provenance = read_predictions(found)
        ids, speakers = clips.column("id"), clips.column("speaker")
        try:
            table, provenance = opened(table, provenance, clips.column("text"))
        except RecordError as error:
            raise _other_clips(against, corpus) from error
        if table["id"].to_pylist() not in (ids, public_ids(ids, speakers)):
            raise _other_clips(against, corpus)
        table = replaced(table, {"id": ids, "speaker": speakers})  # which were not published as they are
        # Its adapter stood beside its predictions: who reads of it here has to be told where.
        system = provenance.system.model_copy(update={"name": EARLIER, "adapter": public_name(against)})
        renamed = described(table, provenance.model_copy(update={"system": system}))
        write_predictions(renamed, predictions_path(out, corpus, EARLIER))


def _other_clips(against: str, corpus: str) -> EscoitaError:
    return EscoitaError(f"{against}: heard other clips of {corpus}; compare on the same test corpus")


NEW, OLD = "new", "old"
# Results of the same corpora in the new and in the old evaluation.
Pairs = Sequence[tuple[CorpusResult, CorpusResult]]


@dataclass(frozen=True)
class Evaluated:
    """
    What was judged in one evaluation.

    Args:
        folder (`Path`): Holds the record, and the predictions where they are there.
        record ([`~escoita.records.evaluation.EvaluationRecord`]): What came of it.
        raw (`bool`): Whether the texts are compared as they are.
    """

    folder: Path
    record: EvaluationRecord
    raw: bool

    def rates(self, result: CorpusResult) -> Rates:
        """Rates of what was judged, as they are compared."""
        return result.main_system.raw if self.raw else result.main_system.normalized

    def outcome(self, results: Sequence[CorpusResult], name: str) -> Outcome:
        """
        Return the figures that a verdict depends on, of one corpus or of several pooled by words.

        Args:
            results (`Sequence[CorpusResult]`): The corpora.
            name (`str`): What the table calls this side, `new` or `old`.
        """
        rates = [self.rates(result) for result in results]
        words = _pooled([(rate.wer, rate.reference_words) for rate in rates])
        characters = _pooled([(rate.cer, rate.reference_characters) for rate in rates])
        empty = sum(unusable(result.main_system, result.n) for result in results)
        clips = sum(result.n for result in results)
        return Outcome(name, clips, empty, words, characters, sum(rate.insertions for rate in rates))


@dataclass(frozen=True)
class Compared:
    """
    The new against the old on one corpus, or on all that both have.

    Args:
        name (`str`): The corpus, or `pooled`.
        outcomes (`tuple[Outcome, Outcome]`): What the verdict depends on, of the new and of the old.
        wer (`tuple[float, float]`): Their word error rates.
        difference (`float`): New minus old; below 0 is better.
        ci95 (`tuple[float, float]`): Its 95 % interval.
        p_value (`float`, *optional*): Two-sided; absent where the intervals of the records were compared.
        verdict (`str`): See [`~escoita.evaluation.verdicts.verdict`].
        how (`str`): What was compared: the same clips, or the intervals of the records and why.
    """

    name: str
    outcomes: tuple[Outcome, Outcome]
    wer: tuple[float, float]
    difference: float
    ci95: Interval
    p_value: float | None
    verdict: Verdict
    how: str

    @property
    def clips(self) -> tuple[int, int]:
        """The number of utterances of the new and of the old."""
        return self.outcomes[0].clips, self.outcomes[1].clips

    @property
    def failed(self) -> bool:
        """Whether more than half of the new hypotheses are empty or loop."""
        return self.outcomes[0].failed

    @property
    def disagree(self) -> bool:
        """Whether one of WER and CER is lower, and the other one higher."""
        return disagree(*self.outcomes)


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
        _by_clips(ours.name, new, old, [(ours, theirs)], found)
        if isinstance(found, Tally)
        else _by_intervals(ours.name, new, old, [(ours, theirs)], f"intervals ({found})")
        for (ours, theirs), found in zip(pairs, tallies, strict=True)
    ]
    if len(pairs) > 1:
        together = [found for found in tallies if isinstance(found, Tally)]
        if len(together) == len(pairs):
            rows.append(_by_clips("pooled", new, old, pairs, pooled(together)))
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
        path = predictions_path(side.folder, ours.name, side.record.main_system.name)
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
    counts = Counts(columns, *resampling_unit(speakers), speakers, 0, 0, {}, {})
    return tally(ours.name, counts, new.record.resamples)


def _by_clips(name: str, new: Evaluated, old: Evaluated, pairs: Pairs, tallied: Tally) -> Compared:
    found = tallied.difference("raw", NEW, OLD)
    wer = (tallied.rate("raw", "words", NEW)[0], tallied.rate("raw", "words", OLD)[0])
    return _compared(
        name, new, old, pairs, wer, found.value, found.ci95, found.p_value, found.verdict, "the same clips"
    )


def _by_intervals(name: str, new: Evaluated, old: Evaluated, pairs: Pairs, how: str) -> Compared:
    ours, theirs = [new.rates(result) for result, _ in pairs], [old.rates(result) for _, result in pairs]
    our_weights, their_weights = _weights(ours), _weights(theirs)
    parts = [(weight, rates.wer, rates.wer_ci95) for weight, rates in zip(our_weights, ours, strict=True)]
    parts += [(-weight, rates.wer, rates.wer_ci95) for weight, rates in zip(their_weights, theirs, strict=True)]
    value, ci95 = recovered(parts)
    wer = sum(weight * rates.wer for weight, rates in zip(our_weights, ours, strict=True))
    units = sum(min(result.units, other.units) for result, other in pairs)
    measured = verdict_of(ci95, smallest_p_value(units))
    return _compared(name, new, old, pairs, (wer, wer - value), value, ci95, None, measured, how)


def _compared(
    name: str,
    new: Evaluated,
    old: Evaluated,
    pairs: Pairs,
    wer: tuple[float, float],
    value: float,
    ci95: Interval,
    p_value: float | None,
    measured: Measured,
    how: str,
) -> Compared:
    """Return the row of a comparison, with the verdict on what was measured."""
    ours = new.outcome([result for result, _ in pairs], NEW)
    theirs = old.outcome([result for _, result in pairs], OLD)
    return Compared(name, (ours, theirs), wer, value, ci95, p_value, verdict(measured, ours, theirs), how)


def _pooled(parts: Sequence[tuple[float, int]]) -> float:
    """Return the rate of several corpora together, from their rates and lengths."""
    return sum(rate * length for rate, length in parts) / max(1, sum(length for _, length in parts))


def _weights(rates: Sequence[Rates]) -> list[float]:
    """Of each corpus in the pool, by its words."""
    words = sum(rate.reference_words for rate in rates)
    return [rate.reference_words / words if words else 1 / len(rates) for rate in rates]
