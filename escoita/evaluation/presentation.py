"""
Present an evaluation: names and titles, rows of rates, verdicts in words, and notes.

Card, report, summary, gate and demo page share these texts. The demo page uses only the rows and titles; the
translations of its sentences are in `space/texts`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from escoita.evaluation.verdicts import Outcome, disagree, outcomes, over_one
from escoita.metrics.primary import metric_name
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import (
    ADAPTER_SYSTEM,
    BASE,
    EARLIER,
    CorpusResult,
    Difference,
    EvaluationRecord,
    Faults,
    Interval,
    MacroMean,
    Metric,
    Rates,
    System,
    SystemResult,
    Verdict,
)
from escoita.utils.formatting import code, interval, percent, points, points_interval, probability, thousands


# Titles of the two rows that are not corpora.
POOLED, MEAN = "All, pooled by words", "Mean of the corpora"


@dataclass(frozen=True)
class Fault:
    """
    Store the two names of a fault.

    Args:
        label (`str`): Name in the heading of a column, or next to an utterance.
        phrase (`str`): Name within a sentence, before a count.
    """

    label: str
    phrase: str


# By their fields in `Faults`.
FAULTS = {
    "empty": Fault("empty", "empty transcripts"),
    "loop": Fault("loop", "repetition loops"),
    "wrong_script": Fault("wrong script", "wrong script"),
    "wrong_language": Fault("wrong language", "wrong language"),
    "chat_like": Fault("chat-like answer", "answers instead of transcripts"),
    "truncated": Fault("token limit reached", "transcripts cut off at the token limit"),
}
# Verdicts of records in the words of the report.
SIGNIFICANCE: dict[str, str] = {
    "better": "significantly better",
    "worse": "significantly worse",
    "no measurable difference": "no significant difference",
}
# Description of each normalizer, for sentences that begin with "Texts were".
NORMALIZER_TEXTS = {
    "raw": "compared without normalization",
    "bytes": "compared without normalization, even of Unicode forms",
    "basic": "normalized as by Whisper's BasicTextNormalizer: lower case, no punctuation",
    "galician": "normalized for Galician: lower case, no punctuation, accents and ñ kept",
    "uzbek": "normalized for Uzbek: lower case, no punctuation, apostrophes in one spelling",
    "uzbek-latin": "normalized for Uzbek: lower case, no punctuation, apostrophes in one spelling, all in Latin",
    "unicode": "normalized for all scripts: one case, no punctuation, letters, combining marks and digits kept",
    "unicode-turkic": (
        "normalized for Turkic languages in Latin script: one case with ı and i, no punctuation, letters, combining"
        " marks and digits kept"
    ),
}


def normalizer_text(normalizer: str) -> str:
    """Return the description of a normalizer, for a sentence that begins with "Texts were"."""
    return NORMALIZER_TEXTS.get(normalizer, f"normalized by {normalizer}")


def name_of(system: System | str) -> str:
    """Return the name of a system within a sentence: `the adapter`, `the base`, or the name of a baseline."""
    name = system if isinstance(system, str) else system.name
    return {ADAPTER_SYSTEM: "the adapter", BASE: "the base", EARLIER: "the earlier revision"}.get(name, name)


def model_of(system: System) -> str:
    """Return the models that a system consists of: its base, with the adapter before it if there is one."""
    return f"{system.adapter} on {system.base}" if system.adapter else system.base


def source_of(system: System) -> str:
    """Return the repository or folder of a system that is compared with the adapter."""
    return f"{system.name} revision, {system.adapter}" if system.adapter else system.base


def sources_of(record: EvaluationRecord) -> dict[str, str]:
    """Return the name of each system within a sentence, which for baselines and earlier revisions is [`source_of`]."""
    names = {system.name: source_of(system) for system in record.systems} | {BASE: "the base"}
    return names | {record.main_system.name: "the adapter"}


def titles_of(record: EvaluationRecord, recipe: Recipe | None = None, pooled: str = POOLED) -> dict[str, str]:
    """
    Return the title of each corpus, and of all corpora pooled.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The evaluation.
        recipe ([`~escoita.recipe.schema.Recipe`], *optional*): Recipe with titles of corpora. A corpus without a title
            has its name as title.
        pooled (`str`, *optional*): Title of all corpora pooled.
    """
    tests = recipe.corpora.test if recipe else []
    titles = {result.name: result.name for result in record.corpora}
    titles |= {corpus.name: corpus.title or corpus.name for corpus in tests}
    return titles | {record.pooled.name: pooled}


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
    """

    system: str
    rates: Rates | MacroMean
    raw: Rates | None = None
    faults: Faults | None = None
    difference: Difference | None = None
    verdict: str = ""


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
        found.append(Row(mean, [SystemRow(each.system, each) for each in record.macro]))
    return found


def _system_row(result: CorpusResult, each: SystemResult) -> SystemRow:
    name = each.system
    return SystemRow(name, each.normalized, each.raw, each.faults, result.against(name), verdict_of(result, name))


def rate(value: float, ci95: Interval) -> str:
    """Return a rate with its interval, for a cell of a table."""
    return f"{percent(value)} ({interval(ci95)})"


def rate_in_words(rates: Rates, metric: Metric = "wer") -> str:
    """Return an error rate with its interval, for a sentence."""
    return f"{percent(rates.rate(metric))} (95 % CI: {interval(rates.ci95(metric))})"


def change(difference: float, ci95: Interval) -> str:
    """Return a difference in percentage points with its interval, for a cell of a table."""
    return f"{points(difference)} ({points_interval(ci95)})"


def change_in_words(difference: Difference) -> str:
    """Return a difference of two systems with its interval, for a sentence."""
    return f"{points(difference.value)} points (95 % CI: {points_interval(difference.ci95)})"


def significance(label: str) -> str:
    """Return a verdict from [`verdict_label`] in the words of the report."""
    verdict, separator, rest = label.partition(";")
    return f"{SIGNIFICANCE.get(verdict, verdict)}{separator}{rest}"


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
        rates, metric = pool.main_system.normalized, record.primary
        found = f"{percent(rates.rate(metric))} (95 % confidence interval {interval(rates.ci95(metric))})"
        return [
            (
                None,
                f"{name} has a {metric_name(metric)} of {found}. No other system was evaluated for comparison.",
            )
        ]
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
        "no measurable difference": f"{_capital(main_system)} and {other} do not differ significantly",
        "not comparable": f"{_capital(main_system)} and {other} are not comparable",
    }[difference.verdict]
    rates = pool.of(difference.other)
    metric = record.primary
    against = f" compared with {percent(rates.normalized.rate(metric))}" if rates else ""
    p_value = probability(difference.p_value)
    p_value = p_value if p_value.startswith("<") else f"=\N{NO-BREAK SPACE}{p_value}"
    limits = "".join(f" {_capital(reason)}." for reason in reasons(pool, difference.other))
    return (
        f"{found}: {metric_name(metric)} {percent(pool.main_system.normalized.rate(metric))}{against}, a difference of"
        f" {points(difference.value)} percentage points (95 % confidence interval {points_interval(difference.ci95)};"
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
    return limits + notes_on_insertions(record, titles, name)


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


def other_base_note(system: System) -> str:
    """
    Return the note that a system was evaluated on another base than its adapter was trained on.

    Returns:
        `str`: Sentences as Markdown, the same as in the template of the card; empty if the bases are the same.
    """
    if not system.expected_base_sha256:
        return ""
    commit = f" at commit {code(system.base_commit)}" if system.base_commit else ""
    return (
        f"these figures were measured on {code(system.base)}{commit}, whose weights have the SHA-256"
        f" {code(system.base_sha256)}. The adapter was trained on a base whose weights have the SHA-256"
        f" {code(system.expected_base_sha256)}."
    )


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
