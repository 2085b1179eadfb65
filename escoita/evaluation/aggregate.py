"""Make the evaluation record: rates, intervals and comparisons on each corpus, and on all of them pooled."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from escoita.errors import RecordError
from escoita.evaluation.bootstrap import interval
from escoita.evaluation.counts import KINDS, By, Form, forms_of, slices
from escoita.evaluation.errors import MissingPredictionsError, MissingSystemError
from escoita.evaluation.prediction_folder import CorpusPredictions, read_folder
from escoita.evaluation.tally import Counts, Tally, count, pooled, tally
from escoita.evaluation.verdicts import for_speakers, outcome, verdict
from escoita.metrics.normalizers import default_normalizer
from escoita.metrics.primary import primary_metric
from escoita.records.evaluation import (
    ADAPTER_SYSTEM,
    BASE,
    METRICS,
    PROBES,
    CorpusResult,
    Difference,
    EvaluationRecord,
    Faults,
    MacroMean,
    Metric,
    ProbeResult,
    Rates,
    SystemResult,
    Tokens,
)
from escoita.utils.limits import DRAWS


# Speakers of the same name in two corpora may be two people.
POOLED_SLICES: tuple[By, ...] = ("duration", "gender", "accent")
SLICES: tuple[By, ...] = ("duration", "speaker", "gender", "accent")


def score(
    folder: Path,
    normalizer_name: str = "raw",
    resamples: int = 1000,
    corpora: Sequence[str] | None = None,
    systems: Sequence[str] | None = None,
    compose: bool = True,
    primary: Metric = "wer",
    retention_normalizers: Mapping[str, str] | None = None,
) -> EvaluationRecord:
    """
    Score the predictions of one or more systems on one or more corpora.

    Args:
        folder (`Path`): Folder with `<corpus>/predictions*.parquet`, such as `eval` of a run or of a repository, and
            with `<corpus>/counts.parquet` if the references of a corpus are hashed.
        normalizer_name (`str`, *optional*, defaults to `"raw"`): Normalizer of references and hypotheses. The record
            contains the rates without normalization too.
        resamples (`int`, *optional*, defaults to 1000): Number of bootstrap resamples.
        corpora (`Sequence[str]`, *optional*): Names of the corpora in their order, including `probes` to count them.
            Defaults to all corpora of the folder, sorted by name.
        systems (`Sequence[str]`, *optional*): Names of the systems. Defaults to all systems of the folder. The main
            system is the adapter, else the base, else a model behind an endpoint, else the first by name.
        compose (`bool`, *optional*, defaults to `True`): Whether raw texts are composed (NFC); escoita 0.1.0 did not.
        primary (`str`, *optional*, defaults to `"wer"`): Metric of differences and verdicts.
        retention_normalizers (`Mapping[str, str]`, *optional*): Normalizers of test corpora of other languages, by
            name. Defaults to those of their languages.

    Returns:
        [`EvaluationRecord`]: The record. The same files give the same record.

    Raises:
        MissingPredictionsError: A corpus has no predictions.
        MissingSystemError: A system was not run on all corpora.
        RecordError: Files cannot be read or do not match, the references are hashed and were not counted under this
            normalizer, or there are too many resamples.
    """
    described, read = read_folder(folder, corpora, systems)
    tested = [corpus for corpus in read if corpus.name != PROBES and not corpus.retention]
    if not tested:
        raise MissingPredictionsError(path=folder)
    clips = sum(corpus.clips.num_rows for corpus in tested)
    if clips * resamples > DRAWS:
        raise RecordError(
            f"too many bootstrap resamples for {clips:,} clips; the maximum is {DRAWS // max(1, clips):,}",
            path=folder,
            key="resamples",
            value=resamples,
        )
    names = [system.name for system in described if any(system.name in corpus.tables for corpus in tested)]
    for corpus in tested:
        for name in names:
            if name not in corpus.tables:
                raise MissingSystemError(path=folder / corpus.name, system=name)
    counts = [count(corpus, normalizer_name, compose) for corpus in tested]
    tallies = [tally(corpus.name, counted, resamples) for corpus, counted in zip(tested, counts, strict=True)]
    pool = pooled(tallies)
    form = forms_of(normalizer_name)[0]
    results = [
        corpus_result(corpus.name, [corpus], [counted], tallied, pool, form, counted.unit, SLICES, primary)
        for corpus, counted, tallied in zip(tested, counts, tallies, strict=True)
    ]
    retained, chosen = [corpus for corpus in read if corpus.retention], retention_normalizers or {}
    return EvaluationRecord(
        systems=[system for system in described if system.name in names],
        normalizer=normalizer_name,
        resamples=resamples,
        corpora=results,
        pooled=corpus_result("pooled", tested, counts, pool, pool, form, "corpus", POOLED_SLICES, primary),
        macro=[macro_mean(name, tallies, form) for name in names],
        probes=[
            probe_result(name, corpus.tables[name])
            for corpus in read
            if corpus.name == PROBES
            for name in names
            if name in corpus.tables
        ],
        retention=[
            retention_result(folder, corpus, chosen.get(corpus.name) or language_normalizer(corpus), resamples)
            for corpus in retained
        ],
        primary=primary,
    )


def retention_result(folder: Path, corpus: CorpusPredictions, normalizer_name: str, resamples: int) -> CorpusResult:
    """
    Return the result of adapter and base on a corpus of another language, whose script decides the primary metric.

    The settings of the evaluation are those of the adapter's language, and do not apply.

    Args:
        folder (`Path`): Folder of the predictions, for errors.
        corpus ([`CorpusPredictions`]): Predictions of both systems.
        normalizer_name (`str`): Normalizer of references and hypotheses.
        resamples (`int`): Number of bootstrap resamples.

    Raises:
        MissingSystemError: The predictions of adapter or base are missing.
    """
    for name in (ADAPTER_SYSTEM, BASE):
        if name not in corpus.tables:
            raise MissingSystemError(path=folder / corpus.name, system=name)
    counted, form = count(corpus, normalizer_name), forms_of(normalizer_name)[0]
    tallied = tally(corpus.name, counted, resamples)
    primary = primary_metric("auto", ", ".join(languages_of(corpus)))
    result = corpus_result(corpus.name, [corpus], [counted], tallied, tallied, form, counted.unit, (), primary)
    return result.model_copy(update={"normalizer": normalizer_name})


def languages_of(corpus: CorpusPredictions) -> list[str]:
    """Return the sorted tags of the languages of the clips."""
    return sorted(set(corpus.clips["language"].to_pylist()))


def language_normalizer(corpus: CorpusPredictions) -> str:
    """Return the normalizer of the language of a corpus, or that of all scripts for several languages."""
    languages = languages_of(corpus)
    return default_normalizer(languages[0]) if len(languages) == 1 else "unicode"


def corpus_result(
    name: str,
    corpora: Sequence[CorpusPredictions],
    counts: Sequence[Counts],
    tallied: Tally,
    pool: Tally,
    form: Form,
    unit: Literal["utterance", "speaker", "corpus"],
    kinds: tuple[By, ...],
    primary: Metric,
) -> CorpusResult:
    """
    Return the result of one corpus, or of several pooled.

    Args:
        name (`str`): Name of the corpus, or `pooled`.
        corpora (`Sequence[CorpusPredictions]`): Predictions of each corpus.
        counts (`Sequence[Counts]`): Counts of each corpus.
        tallied ([`~escoita.evaluation.tally.Tally`]): Sums over all of them.
        pool ([`~escoita.evaluation.tally.Tally`]): Sums over all corpora of the record, for the share of these.
        form (`str`): Form of the normalized texts; `raw` if the normalizer is `raw`.
        unit (`str`): Resampling unit.
        kinds (`tuple[str, ...]`): Kinds of slices.
        primary (`str`): Metric of differences and verdicts.
    """
    results = [system_result(system, corpora, counts, tallied, form) for system in corpora[0].tables]
    clips = pa.concat_tables([corpus.clips.replace_schema_metadata() for corpus in corpora])
    systems = list(corpora[0].tables)
    columns = {key: np.concatenate([counted.columns[key] for counted in counts]) for key in counts[0].columns}
    edits = {system: columns[form, "words", system] for system in systems}
    in_characters: dict[str, Any] = {}
    shares = {"word_share": _share(tallied, pool, form, "words")}
    if primary == "cer":
        shares |= {"character_share": _share(tallied, pool, form, "characters")}
        counted = {system: columns[form, "characters", system] for system in systems}
        in_characters = {"characters": columns[form, "characters"], "character_edits": counted}
    return CorpusResult(
        name=name,
        language=", ".join(sorted(set(clips["language"].to_pylist()))),
        n=clips.num_rows,
        rejected=sum(corpus.rejected for corpus in corpora),
        audio_seconds=float(clips["audio_seconds"].to_numpy().sum()),
        unit=unit,
        units=len(corpora) if unit == "corpus" else tallied.units,
        merged=sum(counted.merged for counted in counts),
        split=sum(counted.split for counted in counts),
        systems=results,
        differences=[compared(tallied, form, results[0], other, clips.num_rows, primary) for other in results[1:]],
        slices=slices(clips, columns[form, "words"], edits, kinds, **in_characters),
        speakers=tallied.speakers,
        few_speakers=tallied.few_speakers,
        **shares,
    )


def _share(tallied: Tally, pool: Tally, form: Form, tokens: Tokens) -> float:
    """Return the fraction of the reference tokens of the pool."""
    return tallied.observed[form, tokens] / max(1, pool.observed[form, tokens])


def system_result(
    name: str, corpora: Sequence[CorpusPredictions], counts: Sequence[Counts], tallied: Tally, form: Form
) -> SystemResult:
    """Return rates, faults and speed of one system."""
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
    """Return rates and their intervals from sums."""
    return Rates(
        **_rates_with_intervals(lambda tokens: tallied.rate(form, tokens, system)),
        **{kind: tallied.observed[form, kind, system] for kind in KINDS},
        **{f"reference_{tokens}": tallied.observed[form, tokens] for tokens in METRICS.values()},
        **{f"{metric}_speaker_ci95": tallied.speaker_rate(form, tokens, system) for metric, tokens in METRICS.items()},
    )


def _rates_with_intervals(rate: Callable[[Tokens], tuple[float, np.ndarray]]) -> dict[str, Any]:
    """Return the fields of all error rates, from the rate of each kind of tokens on the corpus and its resamples."""
    fields: dict[str, Any] = {}
    for metric, tokens in METRICS.items():
        observed, drawn = rate(tokens)
        fields |= {metric: observed, f"{metric}_ci95": interval(drawn)}
    return fields


def compared(
    tallied: Tally, form: Form, main_system: SystemResult, other: SystemResult, clips: int, primary: Metric
) -> Difference:
    """
    Compare the main system with another one.

    Args:
        tallied ([`~escoita.evaluation.tally.Tally`]): Sums of both systems.
        form (`str`): Form of the texts.
        main_system ([`~escoita.records.evaluation.SystemResult`]): Result of the main system.
        other ([`~escoita.records.evaluation.SystemResult`]): Result of the other system on the same clips.
        clips (`int`): Number of these clips.
        primary (`str`): Metric that decides.
    """
    tokens, names = METRICS[primary], (main_system.system, other.system)
    found = tallied.difference(form, *names, tokens)
    speaker_ci95 = tallied.speaker_difference(form, *names, tokens)
    measured = for_speakers(found.verdict, tallied.few_speakers, speaker_ci95)
    decided = verdict(measured, outcome(main_system, clips), outcome(other, clips))
    values = {metric: tallied.difference(form, *names, each).value for metric, each in METRICS.items()}
    return Difference(
        other=other.system,
        wer=values["wer"],
        ci95=found.ci95,
        p_value=found.p_value,
        verdict=decided,
        speaker_ci95=speaker_ci95,
        cer=values["cer"] if primary == "cer" else None,
    )


def macro_mean(system: str, tallies: Sequence[Tally], form: Form) -> MacroMean:
    """Return the mean of the rates of the corpora; those without reference words count only if no corpus has any."""
    included = [tallied for tallied in tallies if tallied.observed[form, "words"]] or tallies

    def mean(tokens: Tokens) -> tuple[float, np.ndarray]:
        observed, drawn = zip(*(tallied.rate(form, tokens, system) for tallied in included), strict=True)
        return sum(observed) / len(included), np.mean(drawn, axis=0)

    return MacroMean(system=system, **_rates_with_intervals(mean))


def probe_result(system: str, table: pa.Table) -> ProbeResult:
    """Count the words that a system wrote for the probes; punctuation by itself is not a word."""
    words = [sum(any(map(str.isalnum, word)) for word in text.split()) for text in table["hypothesis"].to_pylist()]
    return ProbeResult(system=system, n=len(words), with_text=sum(map(bool, words)), words=sum(words))


def _total(tables: Sequence[pa.Table], column: str) -> float:
    return float(sum(table[column].to_numpy().sum() for table in tables))
