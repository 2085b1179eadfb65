"""The rates of an evaluation as the page shows them: rows of its tables, and sentences made of figures."""

from collections.abc import Iterator
from dataclasses import dataclass

from escoita.evaluation.presentation import Row, rows, titles_of
from escoita.evaluation.verdicts import disagree, outcomes, over_one
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import BASE, SUBJECT, CorpusResult, Difference, EvaluationRecord
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
class Table:
    """
    A table of rates.

    Args:
        note (`str`): How the texts were normalized before the edits were counted.
        rows (`list[Row]`): Each with the base first.
        raw (`bool`): Whether the table shows the rates without normalization.
    """

    note: str
    rows: list[Row]
    raw: bool


def tables(evaluation: EvaluationRecord, recipe: Recipe | None, language: str) -> list[Table]:
    """
    Each corpus, all pooled, and their mean; the raw rates in a table of their own, where they are others.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): The record.
        recipe ([`~escoita.recipe.schema.Recipe`], *optional*): Has the titles of the corpora.
        language (`str`): Of the page.
    """
    shown = rows(evaluation, _titles(evaluation, recipe, language), say("about.mean", language))
    as_they_stand = say("compare.raw", language)
    if evaluation.normalizer == "raw":
        return [Table(as_they_stand, shown, False)]
    first = Table(say("compare.normalized", language, name=evaluation.normalizer), shown, False)
    corpora = [row for row in shown if row.result]
    differ = any(each.raw != each.rates for row in corpora for each in row.systems)
    return [first, Table(as_they_stand, corpora, True)] if differ else [first]


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
    called = names(evaluation, language)
    for result, each in over_one(evaluation):
        told = {"corpus": titles[result.name], "system": called[each.system], "wer": percent(each.wer)}
        yield say("about.over", language, **told, count=thousands(each.insertions))
    for probe in evaluation.probes:
        if probe.system == evaluation.main_system.name:
            yield say("about.probes", language, count=thousands(probe.n), heard=thousands(probe.with_text))


def names(evaluation: EvaluationRecord, language: str) -> dict[str, str]:
    """
    Return the name of each system on the page.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): The record.
        language (`str`): Of the page.
    """
    return {
        system.name: say(f"compare.{system.name}", language)
        if system.name in (BASE, SUBJECT)
        else short_name(system.adapter or system.base)
        for system in evaluation.systems
    }


def _titles(evaluation: EvaluationRecord, recipe: Recipe | None, language: str) -> dict[str, str]:
    return titles_of(evaluation, recipe, pooled=say("about.pooled", language))


def _limits(result: CorpusResult, title: str, language: str) -> Iterator[str]:
    """Say what the verdict on adapter and base depends on beside the WER."""
    compared = outcomes(result, BASE)
    if compared is None:
        return
    ours, theirs = compared
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
