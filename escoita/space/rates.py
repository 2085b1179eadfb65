"""The rates of an evaluation as the page shows them: rows of its tables, and sentences made of figures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from escoita.evaluation.verdicts import above_one, disagree, outcome
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import (
    BASE,
    SUBJECT,
    CorpusResult,
    Difference,
    EvaluationRecord,
    Interval,
    MacroMean,
    Rates,
)
from escoita.space.texts import say
from escoita.space.theme import short_name
from escoita.utils.formatting import MINUS, percent, points, thousands


VERDICTS = {
    "better": "about.better",
    "worse": "about.worse",
    "no measurable difference": "about.alike",
    "not comparable": "about.incomparable",
}


@dataclass(frozen=True)
class Heard:
    """
    One system in a row of the table.

    Args:
        system (`str`): What the page calls it.
        judged (`bool`): Whether the record is about it.
        wer (`float`): A fraction.
        wer_ci95 (`tuple[float, float]`): Its 95 % interval.
        cer (`float`): A fraction.
    """

    system: str
    judged: bool
    wer: float
    wer_ci95: Interval
    cer: float


@dataclass(frozen=True)
class Row:
    """
    A corpus, and what each system heard in it.

    Args:
        title (`str`): Of the corpus.
        clips (`int`, *optional*): Utterances; none of a mean over corpora.
        heard (`list[Heard]`): The base first.
    """

    title: str
    clips: int | None
    heard: list[Heard]


@dataclass(frozen=True)
class Table:
    """Rows, and how texts were made alike before counting."""

    note: str
    rows: list[Row]


def tables(evaluation: EvaluationRecord, recipe: Recipe | None, language: str) -> list[Table]:
    """
    Each corpus, all pooled, and their mean; the raw rates in a table of their own, where they are others.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): The record.
        recipe ([`~escoita.recipe.schema.Recipe`], *optional*): Has the titles of the corpora.
        language (`str`): Of the page.
    """
    titles, called = _titles(evaluation, recipe, language), _called(evaluation, language)
    normalized, raw = [], []
    for result in evaluation.rows:
        title, n = titles[result.name], result.n
        normalized.append(Row(title, n, _heard(called, {each.system: each.normalized for each in result.systems})))
        raw.append(Row(title, n, _heard(called, {each.system: each.raw for each in result.systems})))
    differ = normalized != raw
    if len(evaluation.corpora) > 1:
        means = {mean.system: mean for mean in evaluation.macro}
        normalized.append(Row(say("about.mean", language), None, _heard(called, means)))
    as_they_stand = say("compare.raw", language)
    if evaluation.normalizer == "raw":
        return [Table(as_they_stand, normalized)]
    first = Table(say("compare.normalized", language, name=evaluation.normalizer), normalized)
    return [first, Table(as_they_stand, raw)] if differ else [first]


def sentences(evaluation: EvaluationRecord, recipe: Recipe | None, language: str) -> Iterator[str]:
    """
    What the figures say: adapter against base in each row, and what is heard where nobody speaks.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): The record.
        recipe ([`~escoita.recipe.schema.Recipe`], *optional*): Has the titles of the corpora.
        language (`str`): Of the page.
    """
    titles = _titles(evaluation, recipe, language)
    for result in evaluation.rows:
        if difference := result.against(BASE):
            yield _compared(titles[result.name], difference, language)
            yield from _limits(result, titles[result.name], language)
    called = _called(evaluation, language)
    for result, each in above_one(evaluation.rows):
        told = {"corpus": titles[result.name], "system": called[each.system], "wer": percent(each.wer)}
        yield say("about.over", language, **told, count=thousands(each.insertions))
    for probe in evaluation.probes:
        if probe.system == evaluation.judged.name:
            yield say("about.probes", language, count=thousands(probe.n), heard=thousands(probe.with_text))


def _titles(evaluation: EvaluationRecord, recipe: Recipe | None, language: str) -> dict[str, str]:
    """What the card calls the corpora; by their names where it says nothing, or no recipe was published."""
    titles = {result.name: result.name for result in evaluation.corpora}
    titles[evaluation.pooled.name] = say("about.pooled", language)
    test = recipe.corpora.test if recipe else []
    return titles | {corpus.name: corpus.title for corpus in test if corpus.title and corpus.name in titles}


def _called(evaluation: EvaluationRecord, language: str) -> dict[str, str]:
    """What the page calls each system, the base first, then what is judged."""
    names = {}
    for system in sorted(evaluation.systems, key=lambda system: system.name != BASE):
        if system.name in (BASE, SUBJECT):
            names[system.name] = say(f"compare.{system.name}", language)
        else:
            names[system.name] = short_name(system.adapter or system.base)
    return names


def _heard(called: Mapping[str, str], rates: Mapping[str, Rates] | Mapping[str, MacroMean]) -> list[Heard]:
    return [
        Heard(title, name == SUBJECT, rates[name].wer, rates[name].wer_ci95, rates[name].cer)
        for name, title in called.items()
        if name in rates
    ]


def _limits(result: CorpusResult, title: str, language: str) -> Iterator[str]:
    """Say what the verdict on adapter and base depends on beside the WER."""
    base = result.of(BASE)
    if base is None or result.judged.unusable is None:
        return
    ours, theirs = outcome(result.judged, result.n), outcome(base, result.n)
    for each, name in ((ours, "adapter"), (theirs, "base")):
        if each.failed:
            counts = {"count": thousands(each.unusable), "clips": thousands(each.clips)}
            yield say("about.failed", language, corpus=title, system=say(f"compare.{name}", language), **counts)
    if disagree(ours, theirs):
        yield say("about.disagree", language, corpus=title, cer=percent(ours.cer), base=percent(theirs.cer))


def _compared(title: str, difference: Difference, language: str) -> str:
    by, low, high = (points(value) for value in (difference.wer, *difference.ci95))
    if difference.verdict == "better":  # by so many: the interval is turned round with the difference
        low, high = high, low
    if difference.verdict in ("better", "worse"):  # better or worse says what the sign says
        by, low, high = (value.lstrip(f"+{MINUS}") for value in (by, low, high))
    interval = f"95 %: {low} … {high}"
    return say(VERDICTS[difference.verdict], language, corpus=title, points=by, interval=interval)
