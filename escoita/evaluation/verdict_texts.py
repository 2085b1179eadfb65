"""State verdicts, limits of comparisons and changes in sentences."""

from collections.abc import Callable, Iterable, Mapping

from escoita.evaluation.interval_texts import (
    change_in_words,
    notes_on_speakers,
    of_speakers,
    rate_in_words,
    scope_of,
    with_speakers,
)
from escoita.evaluation.presentation import name_of, titles_of
from escoita.evaluation.rows import retention_rows
from escoita.evaluation.verdicts import Outcome, disagree, outcomes, over_one
from escoita.metrics.primary import metric_name
from escoita.records.evaluation import BASE, CorpusResult, Difference, EvaluationRecord, Metric, Verdict
from escoita.utils.formatting import percent, points, points_interval, probability, thousands


# Verdicts of records in the words of the report.
SIGNIFICANCE: dict[str, str] = {
    "better": "significantly better",
    "worse": "significantly worse",
    "better for these speakers": "significantly better for these speakers",
    "worse for these speakers": "significantly worse for these speakers",
    "no measurable difference": "no significant difference",
}


def retention_notes(results: Iterable[CorpusResult]) -> list[str]:
    """Return a sentence on each test corpus of another language: rates of base and adapter, change and verdict."""
    return [
        f"Forgetting on {row.title} ({row.result.language}, normalizer {row.result.normalizer}): {metric_name(metric)}"
        f" {percent(base.rates.rate(metric))} of the base,"
        f" {percent(row.systems[0].rates.rate(metric))} of the adapter,"
        f" {change_in_words(base.difference, row.result)}; the adapter is {base.verdict}"
        for row in retention_rows(results)
        if row.result and (base := row.of(BASE)) and base.difference and (metric := base.difference.metric)
    ]


def significance(label: str) -> str:
    """Return a verdict from [`verdict_label`] in the words of the report."""
    verdict, separator, rest = label.partition(";")
    return f"{SIGNIFICANCE.get(verdict, verdict)}{separator}{rest}"


def by_verdict(found: Iterable[tuple[str, Verdict]]) -> dict[Verdict, list[str]]:
    """Return the corpora of each verdict, from pairs of a corpus and its verdict."""
    groups: dict[Verdict, list[str]] = {}
    for name, verdict in found:
        groups.setdefault(verdict, []).append(name)
    return groups


def verdicts(record: EvaluationRecord) -> list[tuple[Difference | None, str]]:
    """
    Return the sentences on the main system and each other one, all corpora pooled.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The evaluation.

    Returns:
        `list[tuple[Difference | None, str]]`: Each difference with its sentences. If only one system was evaluated,
        None and a sentence that states this.
    """
    pool, name = record.rows[-1], _capital(name_of(record.main_system))
    if not pool.differences:
        metric = record.primary
        found = f"{name} has a {metric_name(metric)} of {rate_in_words(pool, metric)}"
        return [(None, f"{found}. No other system was evaluated for comparison.")]
    return [
        (difference, _against(difference, pool, record) + _exceptions(difference, record))
        for difference in pool.differences
    ]


def _against(difference: Difference, pool: CorpusResult, record: EvaluationRecord) -> str:
    """Return the sentences on a difference: verdict, rates, interval, p-value, and limits of the comparison."""
    main_system, other = name_of(record.main_system), name_of(difference.other)
    found = {
        "better": f"{_capital(main_system)} is significantly better than {other}",
        "worse": f"{_capital(main_system)} is significantly worse than {other}",
        "better for these speakers": f"{_capital(main_system)} is significantly better than {other} for"
        f" {of_speakers(pool.speakers)}, but not measurably for other speakers",
        "worse for these speakers": f"{_capital(main_system)} is significantly worse than {other} for"
        f" {of_speakers(pool.speakers)}, but not measurably for other speakers",
        "no measurable difference": f"{_capital(main_system)} and {other} do not differ significantly",
        "not comparable": f"{_capital(main_system)} and {other} are not comparable",
    }[difference.verdict]
    rates = pool.of(difference.other)
    metric = record.primary
    against = f" compared with {percent(rates.normalized.rate(metric))}" if rates else ""
    p_value = probability(difference.p_value)
    p_value = p_value if p_value.startswith("<") else f"=\N{NO-BREAK SPACE}{p_value}"
    limits = "".join(f" {_capital(reason)}." for reason in reasons(pool, difference.other))
    scope = scope_of(pool.few_speakers, pool.speakers)
    bounds = with_speakers(points_interval, difference.ci95, difference.speaker_ci95, scope)
    return (
        f"{found}: {metric_name(metric)} {percent(pool.main_system.normalized.rate(metric))}{against}, a difference of"
        f" {points(difference.value)} percentage points (95 % confidence interval {bounds};"
        f" p\N{NO-BREAK SPACE}{p_value}).{limits}"
    )


def _exceptions(difference: Difference, record: EvaluationRecord) -> str:
    """Return a sentence on the corpora whose verdict differs from that on the pool."""
    if len(record.corpora) < 2:
        return ""
    found = ((corpus.name, corpus.against(difference.other)) for corpus in record.corpora)
    others = by_verdict((name, each.verdict) for name, each in found if each and each.verdict != difference.verdict)
    if not others:
        return " The verdict is the same on each corpus."
    exceptions = "; ".join(f"{significance(verdict)} on {', '.join(names)}" for verdict, names in others.items())
    return f" The verdict differs on some corpora: {exceptions}."


def reasons_of(
    main_system: Outcome, other: Outcome, name: Callable[[str], str] = name_of, primary: Metric = "wer"
) -> list[str]:
    """
    Return the limits of a comparison of two systems by error rate.

    Args:
        main_system ([`~escoita.evaluation.verdicts.Outcome`]): Figures of the main system.
        other ([`~escoita.evaluation.verdicts.Outcome`]): Figures of the other system.
        name (`Callable[[str], str]`, *optional*): Function that returns the name of a system within a sentence.
        primary (`str`, *optional*, defaults to `"wer"`): Metric that decides.

    Returns:
        `list[str]`: Clauses without a period; empty if nothing limits the comparison.
    """
    clauses = [
        f"{thousands(each.unusable)} of {thousands(each.clips)} hypotheses of {name(each.system)} are empty or loop"
        for each in (main_system, other)
        if each.failed
    ]
    if primary == "wer" and disagree(main_system, other):
        change = "higher" if main_system.cer > other.cer else "lower"
        wer = "lower" if change == "higher" else "higher"
        rates = f"{percent(main_system.cer)} against {percent(other.cer)}"
        clauses.append(f"WER and CER disagree: the WER is {wer}, the CER is {change} ({rates})")
    return clauses


def reasons(result: CorpusResult, other: str, name: Callable[[str], str] = name_of) -> list[str]:
    """
    Return the clauses of [`reasons_of`] for the main system and another one of a record.

    Returns:
        `list[str]`: Clauses; empty for a record of 0.1.0, which does not contain the necessary counts.
    """
    compared, difference = outcomes(result, other), result.against(other)
    primary: Metric = "cer" if difference and difference.cer is not None else "wer"
    return reasons_of(*compared, name, primary) if compared else []


def notes(
    record: EvaluationRecord, titles: Mapping[str, str] | None = None, name: Callable[[str], str] = name_of
) -> list[str]:
    """
    Return the sentences below a table of results: limits of the comparisons, and reasons of rates over 100 %.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The evaluation.
        titles (`Mapping[str, str]`, *optional*): Titles of the corpora, from [`titles_of`].
        name (`Callable[[str], str]`, *optional*): Function that returns the name of a system within a sentence.

    Returns:
        `list[str]`: Sentences as plain text; empty for a record of 0.1.0.
    """
    titles = titles or titles_of(record, pooled="all corpora")
    main_system = name(record.main_system.name)
    limits = [
        limit_note(titles[result.name], main_system, name(system.name), reason)
        for result in record.rows
        for system in record.systems[1:]
        for reason in reasons(result, system.name, name)
    ]
    return notes_on_speakers(record, titles) + limits + notes_on_insertions(record, titles, name)


def limit_note(corpus: str, main_system: str, other: str, reason: str) -> str:
    """Return the sentence on a limit of a comparison, from the title of the corpus, two names and a clause."""
    return f"{corpus}, {main_system} against {other}: {reason}."


def notes_on_insertions(
    record: EvaluationRecord, titles: Mapping[str, str] | None = None, name: Callable[[str], str] = name_of
) -> list[str]:
    """Return a sentence on each rate over 100 %; the arguments are those of [`notes`]."""
    titles = titles or titles_of(record, pooled="all corpora")
    return [f"{insertions_note(each, titles[result.name], name)}." for result, each in over_one(record)]


def insertions_note(each: Outcome, corpus: str, name: Callable[[str], str] = name_of) -> str:
    """
    Explain a word error rate of more than 100 %.

    Args:
        each ([`~escoita.evaluation.verdicts.Outcome`]): Figures of a system whose WER is over 1.
        corpus (`str`): Title of the corpus.
        name (`Callable[[str], str]`, *optional*): Function as in [`notes`].
    """
    return (
        f"The WER of {name(each.system)} on {corpus} is {percent(each.wer)}, which is over 100 %, because it inserts"
        f" {thousands(each.insertions)} {'word' if each.insertions == 1 else 'words'}"
    )


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
