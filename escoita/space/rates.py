"""Format the error rates of an evaluation for the page, as tables and sentences."""

from collections.abc import Iterator
from dataclasses import dataclass

from escoita.evaluation.presentation import titles_of
from escoita.evaluation.rows import Row, rows
from escoita.evaluation.verdicts import UNLIMITED, disagree, outcomes, over_one
from escoita.metrics.primary import metric_name
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import ADAPTER_SYSTEM, BASE, CorpusResult, Difference, EvaluationRecord, Interval
from escoita.space.texts import translate
from escoita.space.theme import short_name
from escoita.utils.formatting import percent, points, thousands


VERDICTS = {
    "better": "about.better",
    "worse": "about.worse",
    "better for these speakers": "about.better",
    "worse for these speakers": "about.worse",
    "no measurable difference": "about.no_difference",
    "not comparable": "about.incomparable",
}


@dataclass(frozen=True)
class Table:
    """
    Hold a table of error rates.

    Args:
        note (`str`): The normalization of the texts, in words.
        rows (`list[Row]`): The rows.
        raw (`bool`): Whether the table shows the rates without normalization.
    """

    note: str
    rows: list[Row]
    raw: bool


def tables(evaluation: EvaluationRecord, recipe: Recipe | None, language: str) -> list[Table]:
    """
    Return the rates of each corpus, pooled and averaged; the raw rates in a second table if they differ.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): The record.
        recipe ([`~escoita.recipe.schema.Recipe`], *optional*): The recipe with the titles of the corpora.
        language (`str`): The language of the page.
    """
    all_rows = rows(evaluation, _titles(evaluation, recipe, language), translate("about.mean", language))
    raw_note = translate("compare.raw", language)
    if not evaluation.normalizes:
        return [Table(raw_note, all_rows, False)]
    first = Table(translate("compare.normalized", language, name=evaluation.normalizer), all_rows, False)
    corpora = [row for row in all_rows if row.result]
    differ = any(each.raw != each.rates for row in corpora for each in row.systems)
    return [first, Table(raw_note, corpora, True)] if differ else [first]


def sentences(evaluation: EvaluationRecord, recipe: Recipe | None, language: str) -> Iterator[str]:
    """
    Yield sentences about the results: the adapter compared with the base in each row, and text produced for silence.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): The record.
        recipe ([`~escoita.recipe.schema.Recipe`], *optional*): The recipe with the titles of the corpora.
        language (`str`): The language of the page.
    """
    titles = _titles(evaluation, recipe, language)
    for result in evaluation.corpora:
        if result.few_speakers and result.speakers is not None:
            values = {"corpus": titles[result.name], "count": thousands(result.speakers)}
            yield translate("about.few_speakers", language, **values)
    for result in evaluation.rows:
        if difference := result.against(BASE):
            yield _compared(titles[result.name], difference, language)
            if difference.verdict in UNLIMITED:
                yield translate("about.speakers", language, corpus=titles[result.name])
            yield from _limits(result, titles[result.name], language)
    system_names = names(evaluation, language)
    for result, each in over_one(evaluation):
        values = {"corpus": titles[result.name], "system": system_names[each.system], "wer": percent(each.wer)}
        yield translate("about.over", language, **values, count=thousands(each.insertions))
    for probe in evaluation.probes:
        if probe.system == evaluation.main_system.name:
            counts = {"count": thousands(probe.n), "with_text": thousands(probe.with_text)}
            yield translate("about.probes", language, **counts)


def names(evaluation: EvaluationRecord, language: str) -> dict[str, str]:
    """
    Return the name of each system on the page.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): The record.
        language (`str`): The language of the page.
    """
    return {
        system.name: translate(f"compare.{system.name}", language)
        if system.name in (BASE, ADAPTER_SYSTEM)
        else short_name(system.adapter or system.base)
        for system in evaluation.systems
    }


def _titles(evaluation: EvaluationRecord, recipe: Recipe | None, language: str) -> dict[str, str]:
    key = "about.pooled" if evaluation.primary == "wer" else "about.pooled_characters"
    return titles_of(evaluation, recipe, pooled=translate(key, language))


def _limits(result: CorpusResult, title: str, language: str) -> Iterator[str]:
    """Yield the reasons other than the WER for the verdict on adapter and base."""
    compared = outcomes(result, BASE)
    if compared is None:
        return
    adapter, base = compared
    for each, name in ((adapter, "adapter"), (base, "base")):
        if each.failed:
            values = {"corpus": title, "system": translate(f"compare.{name}", language)}
            counts = {"count": thousands(each.unusable), "clips": thousands(each.clips)}
            yield translate("about.failed", language, **values, **counts)
    difference = result.against(BASE)
    if difference and difference.cer is None and disagree(adapter, base):
        yield translate("about.disagree", language, corpus=title, cer=percent(adapter.cer), base=percent(base.cer))


def _compared(title: str, difference: Difference, language: str) -> str:
    verdict = UNLIMITED.get(difference.verdict, difference.verdict)

    def shown(value: float) -> str:
        # A sentence with one of these verdicts says lower or higher; the bounds of a lower rate change their signs.
        signed = points(-value if verdict == "better" else value)
        return signed.removeprefix("+") if verdict in ("better", "worse") else signed

    def span(bounds: Interval) -> str:
        return " … ".join(map(shown, sorted(bounds, reverse=verdict == "better")))

    by, interval = shown(difference.value), f"95 %: {span(difference.ci95)}"
    if difference.speaker_ci95:
        interval += f"; {translate('about.over_speakers', language, interval=span(difference.speaker_ci95))}"
    metric = metric_name("wer" if difference.cer is None else "cer")
    values = {"corpus": title, "points": by, "interval": interval, "metric": metric}
    return translate(VERDICTS[difference.verdict], language, **values)
