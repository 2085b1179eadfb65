"""Add up the counts of utterances, and make the evaluation record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from escoita.errors import RecordError
from escoita.evaluation.bootstrap import (
    PairedDifference,
    difference,
    interval,
    rates,
    resampled,
    resampling_unit,
    seed_of,
    smallest_p_value,
)
from escoita.evaluation.counts import (
    CHANGES,
    FORMS,
    KINDS,
    By,
    Form,
    Key,
    count_utterances,
    forms_of,
    read_counts,
    slices,
)
from escoita.evaluation.prediction_folder import CorpusPredictions, read_folder
from escoita.evaluation.verdicts import outcome, verdict
from escoita.metrics.error_types import FAULTS
from escoita.records.evaluation import (
    METRICS,
    PROBES,
    CorpusResult,
    Difference,
    EvaluationRecord,
    Faults,
    MacroMean,
    ProbeResult,
    Rates,
    SystemResult,
    Tokens,
)
from escoita.utils.limits import DRAWS


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
        corpus ([`CorpusPredictions`]): References and what was heard; where the references are hashed,
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


# A speaker of one corpus and one of the same name in another may be two people.
POOLED_SLICES: tuple[By, ...] = ("duration", "gender", "accent")
SLICES: tuple[By, ...] = ("duration", "speaker", "gender", "accent")


def score(
    folder: Path,
    normalizer_name: str = "raw",
    resamples: int = 1000,
    corpora: Sequence[str] | None = None,
    systems: Sequence[str] | None = None,
) -> EvaluationRecord:
    """
    Scores predictions of one or more corpora, by one or more systems.

    Args:
        folder (`Path`): Holds `<corpus>/predictions*.parquet`, as a run's `eval` and a published one do, and beside
            those whose references are hashed `counts.parquet`, which stand for them.
        normalizer_name (`str`, *optional*, defaults to `"raw"`): Applied to references and hypotheses; the rates of
            the texts as they are stand beside.
        resamples (`int`, *optional*, defaults to 1000): Bootstrap resamples of an interval.
        corpora (`Sequence[str]`, *optional*): Which, in their order, `probes` among them where they are to be counted;
            all that the folder holds, by name, unless given.
        systems (`Sequence[str]`, *optional*): Which; all that the folder holds unless given. The adapter is judged,
            without one the base, without either what comes first by name.

    Returns:
        [`EvaluationRecord`]: The same whenever it is made from the same files.

    Raises:
        RecordError: A file is missing or not one of ours, is of another model than the others, holds other clips than
            those beside it, or a system was not run on all corpora; or references are hashed, and were not counted
            under this normaliser.
    """
    described, read = read_folder(folder, corpora, systems)
    tested = [corpus for corpus in read if corpus.name != PROBES]
    if not tested:
        raise RecordError(f"{folder}: holds no predictions of a test corpus; escoita eval writes them")
    clips = sum(corpus.clips.num_rows for corpus in tested)
    if clips * resamples > DRAWS:
        raise RecordError(
            f"{folder}: {resamples:,} bootstrap resamples of {clips:,} clips; at most {DRAWS // max(1, clips):,} are"
            " drawn"
        )
    names = [system.name for system in described if any(system.name in corpus.tables for corpus in tested)]
    for corpus in tested:
        for name in names:
            if name not in corpus.tables:
                raise RecordError(
                    f"{folder / corpus.name}: holds no predictions of {name}, which other corpora have; evaluate it"
                    " there too, or remove the others"
                )
    counts = [count(corpus, normalizer_name) for corpus in tested]
    tallies = [tally(corpus.name, counted, resamples) for corpus, counted in zip(tested, counts, strict=True)]
    pool = pooled(tallies)
    form = forms_of(normalizer_name)[0]
    all_words = pool.observed[form, "words"]
    results = [
        corpus_result(corpus.name, [corpus], [counted], tallied, form, counted.unit, SLICES, all_words)
        for corpus, counted, tallied in zip(tested, counts, tallies, strict=True)
    ]
    return EvaluationRecord(
        systems=[system for system in described if system.name in names],
        normalizer=normalizer_name,
        resamples=resamples,
        corpora=results,
        pooled=corpus_result("pooled", tested, counts, pool, form, "corpus", POOLED_SLICES, all_words),
        macro=[macro_mean(name, tallies, form) for name in names],
        probes=[
            probe_result(name, corpus.tables[name])
            for corpus in read
            if corpus.name == PROBES
            for name in names
            if name in corpus.tables
        ],
    )


def corpus_result(
    name: str,
    corpora: Sequence[CorpusPredictions],
    counts: Sequence[Counts],
    tallied: Tally,
    form: Form,
    unit: Literal["utterance", "speaker", "corpus"],
    kinds: tuple[By, ...],
    all_words: int,
) -> CorpusResult:
    """
    All that is said of one corpus, or of several together.

    Args:
        name (`str`): The corpus, or `pooled`.
        corpora (`Sequence[CorpusPredictions]`): What was heard.
        counts (`Sequence[Counts]`): Of each of them.
        tallied ([`~escoita.evaluation.aggregate.Tally`]): Of all of them together.
        form (`str`): Of the texts under the normaliser, `raw` where that changes nothing.
        unit (`str`): What was drawn.
        kinds (`tuple[str, ...]`): Of slices.
        all_words (`int`): Reference words of all corpora of the record.
    """
    heard = [system_result(system, corpora, counts, tallied, form) for system in corpora[0].tables]
    clips = pa.concat_tables([corpus.clips.replace_schema_metadata() for corpus in corpora])
    systems = list(corpora[0].tables)
    columns = {key: np.concatenate([counted.columns[key] for counted in counts]) for key in counts[0].columns}
    edits = {system: columns[form, "words", system] for system in systems}
    return CorpusResult(
        name=name,
        language=", ".join(sorted(set(clips["language"].to_pylist()))),
        n=clips.num_rows,
        rejected=sum(corpus.rejected for corpus in corpora),
        audio_seconds=float(clips["audio_seconds"].to_numpy().sum()),
        word_share=tallied.observed[form, "words"] / max(1, all_words),
        unit=unit,
        units=len(corpora) if unit == "corpus" else tallied.units,
        merged=sum(counted.merged for counted in counts),
        split=sum(counted.split for counted in counts),
        systems=heard,
        differences=[compared(tallied, form, heard[0], other, clips.num_rows) for other in heard[1:]],
        slices=slices(clips, columns[form, "words"], edits, kinds),
    )


def system_result(
    name: str, corpora: Sequence[CorpusPredictions], counts: Sequence[Counts], tallied: Tally, form: Form
) -> SystemResult:
    """Rates, faults and speed of one system."""
    tables = [corpus.tables[name] for corpus in corpora]
    computing = _total(tables, "compute_seconds")
    raw = made_rates(tallied, "raw", name)
    return SystemResult(
        system=name,
        normalized=raw if form == "raw" else made_rates(tallied, form, name),
        raw=raw,
        faults=Faults(**{kind: sum(counted.faults[name][kind] for counted in counts) for kind in Faults.model_fields}),
        rtfx=_total(tables, "audio_seconds") / computing if computing else 0.0,
        tokens_per_second=_total(tables, "tokens") / computing if computing else 0.0,
        unusable=sum(counted.unusable[name] for counted in counts),
    )


def made_rates(tallied: Tally, form: Form, system: str) -> Rates:
    """Rates and their intervals from sums."""
    return Rates(
        **_rates_with_intervals(lambda tokens: tallied.rate(form, tokens, system)),
        **{kind: tallied.observed[form, kind, system] for kind in KINDS},
        **{f"reference_{tokens}": tallied.observed[form, tokens] for tokens in METRICS.values()},
    )


def _rates_with_intervals(rate: Callable[[Tokens], tuple[float, np.ndarray]]) -> dict[str, Any]:
    """Return the fields of all error rates, from the rate of each kind of tokens on the corpus and its resamples."""
    fields: dict[str, Any] = {}
    for metric, tokens in METRICS.items():
        observed, drawn = rate(tokens)
        fields |= {metric: observed, f"{metric}_ci95": interval(drawn)}
    return fields


def compared(tallied: Tally, form: Form, main_system: SystemResult, other: SystemResult, clips: int) -> Difference:
    """
    Compare the judged system with another one.

    Args:
        tallied ([`~escoita.evaluation.aggregate.Tally`]): Sums of both systems.
        form (`str`): Of the texts.
        main_system ([`~escoita.records.evaluation.SystemResult`]): The result of the judged system.
        other ([`~escoita.records.evaluation.SystemResult`]): The result of the other system on the same clips.
        clips (`int`): Number of these clips.
    """
    found = tallied.difference(form, main_system.system, other.system)
    said = verdict(found.verdict, outcome(main_system, clips), outcome(other, clips))
    return Difference(other=other.system, wer=found.value, ci95=found.ci95, p_value=found.p_value, verdict=said)


def macro_mean(system: str, tallies: Sequence[Tally], form: Form) -> MacroMean:
    """The mean of the corpora's rates; of corpora without a reference word, which have none, only if all are such."""
    generation_settings = [tallied for tallied in tallies if tallied.observed[form, "words"]] or tallies

    def mean(tokens: Tokens) -> tuple[float, np.ndarray]:
        observed, drawn = zip(*(tallied.rate(form, tokens, system) for tallied in generation_settings), strict=True)
        return sum(observed) / len(generation_settings), np.mean(drawn, axis=0)

    return MacroMean(system=system, **_rates_with_intervals(mean))


def probe_result(system: str, table: pa.Table) -> ProbeResult:
    """What a system heard in the probes; punctuation by itself is no word."""
    heard = [sum(any(map(str.isalnum, word)) for word in text.split()) for text in table["hypothesis"].to_pylist()]
    return ProbeResult(system=system, n=len(heard), with_text=sum(map(bool, heard)), words=sum(heard))


def _total(tables: Sequence[pa.Table], column: str) -> float:
    return float(sum(table[column].to_numpy().sum() for table in tables))
