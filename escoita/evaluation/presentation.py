"""
Present an evaluation: names and titles, rows of rates, verdicts in words, and notes.

Card, report, summary, gate and demo page share these texts. The demo page uses only the rows and titles; the
translations of its sentences are in `space/texts`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from escoita.evaluation.interval_texts import (
    change_in_words,
    notes_on_speakers,
    of_speakers,
    rate_in_words,
    scope_of,
    with_speakers,
)
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
    "better for these speakers": "significantly better for these speakers",
    "worse for these speakers": "significantly worse for these speakers",
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


def rescored_text(record: EvaluationRecord) -> str:
    """Return the sentence on predictions that were scored again; empty for others."""
    first = record.rescored
    if first is None:
        return ""
    changed = first.primary != record.primary
    now, before = (f", with the {metric_name(each.primary)} for verdicts" * changed for each in (record, first))
    return (
        f"The stored predictions were scored again with the normalizer {record.normalizer} and"
        f" {thousands(record.resamples)} resamples{now}; the evaluation used {first.normalizer} and"
        f" {thousands(first.resamples)}{before}."
    )


def name_of(system: System | str) -> str:
    """Return the name of a system within a sentence: `the adapter`, `the base`, or the name of a baseline."""
    name = system if isinstance(system, str) else system.name
    return {ADAPTER_SYSTEM: "the adapter", BASE: "the base", EARLIER: "the earlier revision"}.get(name, name)


def model_of(system: System) -> str:
    """Return the models that a system consists of: its base, with the adapter before it if there is one."""
    return f"{system.adapter} on {system.base}" if system.adapter else system.base


def decoding_text(system: System) -> str:
    """Return how a system searches for the text of a clip: `greedy`, or the number of its beams."""
    beams = system.decoding.num_beams
    if beams is None:
        return "chosen by the server"
    search = "greedy" if beams == 1 else f"{beams} beams"
    penalties = (f"{name} {value:g}" for name, value in system.decoding.penalties.items())
    return ", ".join([search, *penalties])


def conditions_text(system: System) -> str:
    """Return the other conditions of decoding: the source of the language, and the longest audio at once."""
    decoding = system.decoding
    sources = {
        "clip": "given the language of each clip",
        "prompt": "given a prompt",
        "none": "not given a language",
    }
    longest = f"at most {decoding.segment_seconds:g} s at once" if decoding.segment_seconds else ""
    written = f"writes {len(system.characters)} different characters" if system.characters else ""
    return "; ".join(filter(None, (sources.get(decoding.language or ""), longest, detector_text(system), written)))


def detector_text(system: System) -> str:
    """Return the method that found the speech in long recordings; empty if there were none."""
    return f"speech in long recordings found by {system.speech_detector}" if system.speech_detector else ""


def decodings(record: EvaluationRecord, name: Callable[[str], str] = name_of) -> str:
    """
    Return the decoding of all systems, such as `greedy`, or `greedy (the adapter, the base), 5 beams (whisper-small)`.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The evaluation.
        name (`Callable[[str], str]`, *optional*): Function that returns the name of a system within a sentence.
    """
    groups: dict[str, list[str]] = {}
    for system in record.systems:
        groups.setdefault(decoding_text(system), []).append(name(system.name))
    if len(groups) == 1:
        return next(iter(groups))
    return ", ".join(f"{text} ({', '.join(names)})" for text, names in groups.items())


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
    tests = recipe.evaluated_corpora if recipe else []
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


def retention_notes(results: Iterable[CorpusResult]) -> list[str]:
    """Return a sentence on each test corpus of another language: rates of base and adapter, change and verdict."""
    return [
        f"Forgetting on {row.title} ({row.result.language}): {metric_name(metric)}"
        f" {percent(base.rates.rate(metric))} of the base,"
        f" {percent(row.systems[0].rates.rate(metric))} of the adapter,"
        f" {change_in_words(base.difference, row.result)}; the adapter is {base.verdict}"
        for row in retention_rows(results)
        if row.result and (base := row.of(BASE)) and base.difference and (metric := base.difference.metric)
    ]


def _system_row(result: CorpusResult, each: SystemResult) -> SystemRow:
    name = each.system
    scope = scope_of(result.few_speakers, result.speakers)
    return SystemRow(
        name, each.normalized, each.raw, each.faults, result.against(name), verdict_of(result, name), scope
    )


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
