"""Make the rows of tables of results: each corpus with the figures of all systems, the pool and the mean."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from escoita.evaluation.interval_texts import scope_of, with_speakers
from escoita.evaluation.presentation import titles_of
from escoita.evaluation.verdicts import disagree, outcomes
from escoita.records.evaluation import (
    BASE,
    CorpusResult,
    Difference,
    EvaluationRecord,
    Faults,
    MacroMean,
    Rates,
    SystemResult,
    Verdict,
)
from escoita.utils.formatting import interval, points_interval


# Title of the row with the unweighted mean.
MEAN = "Mean of the corpora"


@dataclass(frozen=True)
class SystemRow:
    """
    Store the figures of one system in a row of a table.

    Args:
        system (`str`): Name in the record.
        rates ([`~escoita.records.evaluation.Rates`] or [`~escoita.records.evaluation.MacroMean`]): Rates with
            normalization.
        raw ([`~escoita.records.evaluation.Rates`], *optional*): Rates without normalization; None for a mean.
        faults ([`~escoita.records.evaluation.Faults`], *optional*): Faults; None for a mean.
        difference ([`~escoita.records.evaluation.Difference`], *optional*): Main system compared with this one.
        verdict (`str`): Verdict on the difference; empty without a difference.
        scope (`str`): Scope of the intervals from [`scope_of`].
    """

    system: str
    rates: Rates | MacroMean
    raw: Rates | None = None
    faults: Faults | None = None
    difference: Difference | None = None
    verdict: str = ""
    scope: str = ""

    def interval(self, metric: str, raw: bool = False) -> str:
        """Return the intervals of a rate, over clips and over speakers, for a cell of a table."""
        rates = self.raw if raw and self.raw else self.rates
        ci95, speaker_ci95 = getattr(rates, f"{metric}_ci95"), getattr(rates, f"{metric}_speaker_ci95", None)
        return with_speakers(interval, ci95, speaker_ci95, self.scope)

    @property
    def difference_interval(self) -> str:
        """Return the intervals of the difference; empty without a difference."""
        found = self.difference
        return with_speakers(points_interval, found.ci95, found.speaker_ci95, self.scope) if found else ""


@dataclass(frozen=True)
class Row:
    """
    Store the row of one corpus, of all corpora pooled, or of their mean, with all systems.

    Args:
        title (`str`): Title of the corpus.
        systems (`list[SystemRow]`): Figures of each system, the main one first.
        result ([`~escoita.records.evaluation.CorpusResult`], *optional*): Result on the corpus; None for a mean.
    """

    title: str
    systems: list[SystemRow]
    result: CorpusResult | None = None

    @property
    def clips(self) -> int | None:
        """Return the number of utterances, or None for a mean."""
        return self.result.n if self.result else None

    @property
    def speakers(self) -> int | None:
        """Return the number of speakers, or None for a mean and if a clip has no speaker."""
        return self.result.speakers if self.result else None

    @property
    def base_first(self) -> list[SystemRow]:
        """Return the systems with the base before the main one."""
        return sorted(self.systems, key=lambda each: each.system != BASE)

    def of(self, system: str) -> SystemRow | None:
        """Return a system of the row, or None if it was not run."""
        return next((each for each in self.systems if each.system == system), None)


def rows(record: EvaluationRecord, titles: Mapping[str, str] | None = None, mean: str = MEAN) -> list[Row]:
    """
    Return the rows of a table of results: each corpus; all corpora pooled and their mean if there are several.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The evaluation.
        titles (`Mapping[str, str]`, *optional*): Titles of the corpora and of the pool, from [`titles_of`].
        mean (`str`, *optional*): Title of the mean.
    """
    titles = titles or titles_of(record)
    found = [
        Row(
            titles[result.name],
            [_system_row(result, each) for each in result.systems],
            result,
        )
        for result in record.rows
    ]
    if len(record.corpora) > 1:
        scope = scope_of(record.pooled.few_speakers, record.pooled.speakers)
        found.append(Row(mean, [SystemRow(each.system, each, scope=scope) for each in record.macro]))
    return found


def retention_rows(results: Iterable[CorpusResult], titles: Mapping[str, str] | None = None) -> list[Row]:
    """
    Return a row for each test corpus of another language.

    Args:
        results (`Iterable[CorpusResult]`): Results of adapter and base on these corpora.
        titles (`Mapping[str, str]`, *optional*): Titles of the corpora, from [`titles_of`].
    """
    titles = titles or {}
    return [
        Row(titles.get(result.name, result.name), [_system_row(result, each) for each in result.systems], result)
        for result in results
    ]


def _system_row(result: CorpusResult, each: SystemResult) -> SystemRow:
    name = each.system
    scope = scope_of(result.few_speakers, result.speakers)
    return SystemRow(
        name, each.normalized, each.raw, each.faults, result.against(name), verdict_of(result, name), scope
    )


def verdict_label(verdict: Verdict, opposite: bool) -> str:
    """Return a verdict for a cell of a table, with a note if WER and CER disagree."""
    return f"{verdict}; WER and CER disagree" if opposite else verdict


def verdict_of(result: CorpusResult, other: str) -> str:
    """Return the verdict of a record on the main system and another one; empty if that was not run."""
    difference, compared = result.against(other), outcomes(result, other)
    if difference is None or result.of(other) is None:
        return ""
    # A WER of a language without spaces counts phrases, so that only the CER matters.
    both = difference.cer is None
    return verdict_label(difference.verdict, both and compared is not None and disagree(*compared))
