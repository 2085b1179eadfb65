"""Compare two evaluations, and copy predictions of an earlier revision."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from escoita.data.rows import Utterances
from escoita.errors import EscoitaError, RecordError
from escoita.evaluation.bootstrap import resampling_unit, smallest_p_value, verdict_of
from escoita.evaluation.counts import Key
from escoita.evaluation.errors import OtherClipsError
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
from escoita.evaluation.speakers import recovered
from escoita.evaluation.tally import Counts, Tally, pooled, tally
from escoita.evaluation.verdicts import Outcome, disagree, for_speakers, unusable, verdict
from escoita.hub.files import local_file, split_revision
from escoita.metrics.normalizers import NORMALIZERS, normalizer
from escoita.metrics.wer import Edits, character_edits, word_edits
from escoita.records.evaluation import (
    ADAPTER_SYSTEM,
    EARLIER,
    METRICS,
    CorpusResult,
    EvaluationRecord,
    Interval,
    Metric,
    Rates,
    Verdict,
)
from escoita.utils.files import public_name
from escoita.utils.limits import DRAWS


def copy_earlier_predictions(against: str, tests: dict[str, Utterances], out: Path) -> None:
    """
    Copy the predictions of the adapter of another run, or of a published revision, on the same clips.

    Args:
        against (`str`): A run directory, or `user/name`, or `user/name@revision`.
        tests (`dict[str, Utterances]`): Clips of each corpus.
        out (`Path`): Folder of this evaluation.

    Raises:
        OtherClipsError: The predictions are of other clips.
        EscoitaError: There are no predictions, or they are those of this evaluation.
    """
    source, revision = split_revision(against)
    if (Path(source) / "eval").resolve() == out.resolve():
        raise EscoitaError(
            "the same run as the one that is evaluated",
            key="--against",
            value=against,
            hint="compare with a copy of its earlier state",
        )
    for corpus, clips in tests.items():
        found = local_file(source, str(predictions_path(Path("eval"), corpus, ADAPTER_SYSTEM)), revision)
        table, provenance = read_predictions(found)
        ids, speakers = clips.column("id"), clips.column("speaker")
        try:
            table, provenance = opened(table, provenance, clips.column("text"))
        except RecordError as error:
            raise OtherClipsError(path=against, other=corpus) from error
        if table["id"].to_pylist() not in (ids, public_ids(ids, speakers)):
            raise OtherClipsError(path=against, other=corpus)
        table = replaced(table, {"id": ids, "speaker": speakers})  # published under other names
        # The record names the adapter by its folder next to the predictions; here its source is needed.
        system = provenance.system.model_copy(update={"name": EARLIER, "adapter": public_name(against)})
        renamed = described(table, provenance.model_copy(update={"system": system}))
        write_predictions(renamed, predictions_path(out, corpus, EARLIER))


NEW, OLD = "new", "old"
# Results of the same corpora in the new and in the old evaluation.
Pairs = Sequence[tuple[CorpusResult, CorpusResult]]


@dataclass(frozen=True)
class ComparedEvaluation:
    """
    Store one of two evaluations that are compared.

    Args:
        folder (`Path`): Folder of the record, and of the predictions if they exist.
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The record.
        raw (`bool`): Whether rates without normalization are compared.
    """

    folder: Path
    record: EvaluationRecord
    raw: bool

    @property
    def primary(self) -> Metric:
        """Return the primary metric of the record."""
        return self.record.primary

    def rates(self, result: CorpusResult) -> Rates:
        """Return the compared rates of the main system."""
        return result.main_system.raw if self.raw else result.main_system.normalized

    def outcome(self, results: Sequence[CorpusResult], name: str) -> Outcome:
        """
        Return the figures that a verdict depends on, of one corpus or of several pooled.

        Args:
            results (`Sequence[CorpusResult]`): Results on the corpora.
            name (`str`): Name of this evaluation in the table, `new` or `old`.
        """
        rates = [self.rates(result) for result in results]
        words = _pooled([(rate.wer, rate.reference_words) for rate in rates])
        characters = _pooled([(rate.cer, rate.reference_characters) for rate in rates])
        empty = sum(unusable(result.main_system, result.n) for result in results)
        clips = sum(result.n for result in results)
        return Outcome(name, clips, empty, words, characters, sum(rate.insertions for rate in rates))


@dataclass(frozen=True)
class CorpusComparison:
    """
    Store the comparison of the new and the old evaluation on one corpus, or on all common corpora.

    Args:
        name (`str`): Name of the corpus, or `pooled`.
        outcomes (`tuple[Outcome, Outcome]`): Figures of the new and the old one that the verdict depends on.
        rates (`tuple[float, float]`): Rates of the new and the old one in the primary metric of the new one.
        difference (`float`): New minus old; negative if the new one is better.
        ci95 (`tuple[float, float]`): 95 % interval of the difference.
        p_value (`float`, *optional*): Two-sided p-value; None if only intervals were compared.
        verdict (`str`): Verdict of [`~escoita.evaluation.verdicts.verdict`].
        how (`str`): Method of the comparison, `paired bootstrap` or `intervals` with the reason.
        speakers (`int`, *optional*): Number of speakers of the new one; None if a clip has no speaker.
        few_speakers (`bool`): Whether the intervals are over clips of fewer than ten speakers.
        speaker_ci95 (`tuple[float, float]`, *optional*): 95 % interval of the difference over speakers.
    """

    name: str
    outcomes: tuple[Outcome, Outcome]
    rates: tuple[float, float]
    difference: float
    ci95: Interval
    p_value: float | None
    verdict: Verdict
    how: str
    speakers: int | None
    few_speakers: bool
    speaker_ci95: Interval | None

    @property
    def clips(self) -> tuple[int, int]:
        """Return the numbers of utterances of the new and the old one."""
        return self.outcomes[0].clips, self.outcomes[1].clips

    @property
    def failed(self) -> bool:
        """Return whether more than half of the new hypotheses are empty or loop."""
        return self.outcomes[0].failed

    @property
    def disagree(self) -> bool:
        """Return whether one of WER and CER is lower, and the other one higher."""
        return disagree(*self.outcomes)


def compare(new: ComparedEvaluation, old: ComparedEvaluation) -> list[CorpusComparison]:
    """
    Compare two evaluations on each common corpus, and on all of them pooled if there are several.

    Args:
        new ([`ComparedEvaluation`]): The new evaluation.
        old ([`ComparedEvaluation`]): The old evaluation, with the same normalizer or with `raw` texts.

    Raises:
        RecordError: Existing predictions cannot be read.
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
        paired = [found for found in tallies if isinstance(found, Tally)]
        if len(paired) == len(pairs):
            rows.append(_by_clips("pooled", new, old, pairs, pooled(paired)))
        else:
            rows.append(_by_intervals("pooled", new, old, pairs, "intervals"))
    return rows


def _paired(new: ComparedEvaluation, old: ComparedEvaluation, ours: CorpusResult, theirs: CorpusResult) -> Tally | str:
    """Return the sums of both over the same draws of their clips, or the reason why they cannot be paired."""
    tables, published, open_references = [], [], []
    for side in (new, old):
        path = predictions_path(side.folder, ours.name, side.record.main_system.name)
        if not path.is_file():
            return "no predictions"
        table, provenance = read_predictions(path)
        tables.append(table)
        published.append(public(table, provenance, withheld=True)[0])  # so that published and local ones compare
        if provenance.references == "open":
            open_references = table["reference"].to_pylist()
    if not all(published[0][column].equals(published[1][column]) for column in ("id", "reference")):
        return "other clips"
    if not open_references and len(tables[0]):
        return "references not published"
    if len(tables[0]) * new.record.resamples > DRAWS:
        return "too many bootstrap resamples in the record"
    name = "raw" if new.raw else new.record.normalizer
    if name not in NORMALIZERS:
        return f"unknown normalizer {name}"
    normalize = normalizer(name)
    references = [normalize(text) for text in open_references]
    columns: dict[Key, np.ndarray] = {}
    tokens = METRICS[new.primary]
    for side_name, side, result, table in zip((NEW, OLD), (new, old), (ours, theirs), tables, strict=True):
        hypotheses = [normalize(text) for text in table["hypothesis"].to_pylist()]
        edits: Edits = word_edits(references, hypotheses)
        rates = side.rates(result)
        if (edits.total.sum(), edits.reference.sum()) != (rates.edits, rates.reference_words):
            return "predictions do not match the record"
        if tokens == "characters":
            edits = character_edits(references, hypotheses)
        columns |= {("raw", tokens): edits.reference, ("raw", tokens, side_name): edits.total}
    speakers = published[0]["speaker"].to_pylist()
    counts = Counts(columns, *resampling_unit(speakers), speakers, 0, 0, {}, {})
    return tally(ours.name, counts, new.record.resamples)


def _by_clips(
    name: str, new: ComparedEvaluation, old: ComparedEvaluation, pairs: Pairs, tallied: Tally
) -> CorpusComparison:
    tokens = METRICS[new.primary]
    found = tallied.difference("raw", NEW, OLD, tokens)
    rates = (tallied.rate("raw", tokens, NEW)[0], tallied.rate("raw", tokens, OLD)[0])
    speaker_ci95 = tallied.speaker_difference("raw", NEW, OLD, tokens)
    limited = for_speakers(found.verdict, tallied.few_speakers, speaker_ci95)
    figures = rates, found.value, found.ci95, found.p_value, limited
    return _compared(
        name, new, old, pairs, *figures, "paired bootstrap", tallied.speakers, tallied.few_speakers, speaker_ci95
    )


def _by_intervals(
    name: str, new: ComparedEvaluation, old: ComparedEvaluation, pairs: Pairs, how: str
) -> CorpusComparison:
    ours, theirs = [new.rates(result) for result, _ in pairs], [old.rates(result) for _, result in pairs]
    metric = new.primary
    our_weights = _weights(ours, metric)
    weights = [*our_weights, *(-weight for weight in _weights(theirs, metric))]
    results = [result for side in zip(*pairs, strict=True) for result in side]
    parts = list(zip(weights, [*ours, *theirs], results, strict=True))
    value, ci95 = recovered([(weight, each.rate(metric), each.ci95(metric)) for weight, each, _ in parts])
    rate = sum(weight * each.rate(metric) for weight, each in zip(our_weights, ours, strict=True))
    units = sum(min(result.units, other.units) for result, other in pairs)
    few_speakers, speaker_ci95 = any(result.few_speakers for result in results), None
    bounds = [_over_speakers(result, each, metric) for _, each, result in parts]
    if few_speakers and None not in bounds:
        known = [
            (weight, each.rate(metric), bound) for (weight, each, _), bound in zip(parts, bounds, strict=True) if bound
        ]
        speaker_ci95 = recovered(known)[1]
    limited = for_speakers(verdict_of(ci95, smallest_p_value(units)), few_speakers, speaker_ci95)
    numbers = [result.speakers for result, _ in pairs if result.speakers is not None]
    speakers = sum(numbers) if len(numbers) == len(pairs) else None
    figures = (rate, rate - value), value, ci95, None, limited
    return _compared(name, new, old, pairs, *figures, how, speakers, few_speakers, speaker_ci95)


def _over_speakers(result: CorpusResult, rates: Rates, metric: Metric) -> Interval | None:
    """Return the interval of an error rate over speakers."""
    return rates.ci95(metric) if result.unit == "speaker" else rates.speaker_ci95(metric)


def _compared(
    name: str,
    new: ComparedEvaluation,
    old: ComparedEvaluation,
    pairs: Pairs,
    rates: tuple[float, float],
    value: float,
    ci95: Interval,
    p_value: float | None,
    measured: Verdict,
    how: str,
    speakers: int | None,
    few_speakers: bool,
    speaker_ci95: Interval | None,
) -> CorpusComparison:
    """Return the row of a comparison, with its verdict."""
    ours = new.outcome([result for result, _ in pairs], NEW)
    theirs = old.outcome([result for _, result in pairs], OLD)
    decided = verdict(measured, ours, theirs)
    return CorpusComparison(
        name, (ours, theirs), rates, value, ci95, p_value, decided, how, speakers, few_speakers, speaker_ci95
    )


def _pooled(parts: Sequence[tuple[float, int]]) -> float:
    """Return the pooled rate of several corpora, from their rates and lengths."""
    return sum(rate * length for rate, length in parts) / max(1, sum(length for _, length in parts))


def _weights(rates: Sequence[Rates], metric: Metric) -> list[float]:
    """Return the weight of each corpus in the pool, by its words, or by its characters for the CER."""
    total = sum(rate.tokens(metric) for rate in rates)
    return [rate.tokens(metric) / total if total else 1 / len(rates) for rate in rates]
