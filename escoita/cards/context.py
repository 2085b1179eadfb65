"""Collect the values of a card that come from an evaluation: tables, sentences and plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from escoita.cards.front_matter import marked
from escoita.cards.interpretation import interpretation
from escoita.cards.metadata import expected_index, hub_id
from escoita.cards.template import CARD_TEMPLATE, environment, plain
from escoita.evaluation.presentation import (
    FAULTS,
    decodings,
    normalizer_text,
    rescored_text,
    source_of,
    sources_of,
    titles_of,
)
from escoita.evaluation.rows import Row, retention_rows, rows
from escoita.evaluation.verdict_texts import notes
from escoita.metrics.primary import metrics_by_rank, token_name
from escoita.recipe.schema import Corpora, Recipe
from escoita.records.evaluation import BASE, METRICS, CorpusResult, EvaluationRecord, System
from escoita.utils import formatting as figures
from escoita.utils.formatting import thousands
from escoita.utils.languages import without_spaces


# Blocks of the template that need only an evaluation.
BLOCKS = ("results", "evaluation")
# Plots of the evaluation by file name; existing files are shown.
PLOTS = {
    "wer-by-corpus.svg": "{} error rate by corpus",
    "wer-by-duration.svg": "{} error rate by duration",
    "wer-distribution.svg": "Distribution of {} error rates over utterances",
}


def _titled(title: str, unit: str) -> str:
    """Return the title of a plot, with `word` or `character`, in upper case at its beginning."""
    return title.format(unit.capitalize() if title.startswith("{") else unit)


def card_rows(rows: Sequence[Row], main_system: str) -> list[dict[str, Any]]:
    """
    Return the table of results: adapter and base next to each other, with their raw rates below if these differ.

    Args:
        rows (`Sequence[Row]`): From [`~escoita.evaluation.rows.rows`].
        main_system (`str`): Name of the adapter in the record.

    Returns:
        `list[dict]`: Rows with `title`, `texts` (`normalized` or `raw`), `clips`, `adapter` and `base` (their rates),
        `difference` and `verdict`; `speakers`, and the intervals as texts: `wer_interval`, `cer_interval` and
        `difference_interval`.
    """
    table = []
    for row in rows:
        ours, base = row.of(main_system), row.of(BASE)
        if ours is None:
            continue
        normalized: dict[str, Any] = {
            "title": row.title,
            "texts": "normalized",
            "clips": row.clips,
            "adapter": ours.rates,
            "base": base.rates if base else None,
            "difference": base.difference if base else None,
            "verdict": base.verdict if base else "",
            "speakers": row.speakers,
            "wer_interval": ours.interval("wer"),
            "cer_interval": ours.interval("cer"),
            "difference_interval": base.difference_interval if base else "",
        }
        table.append(normalized)
        raw = base.raw if base else None
        if ours.raw and (ours.raw, raw) != (ours.rates, normalized["base"]):
            raw_rates = {"texts": "raw", "adapter": ours.raw, "base": raw, "difference": None, "verdict": ""}
            raw_rates |= {f"{metric}_interval": ours.interval(metric, raw=True) for metric in METRICS}
            table.append(normalized | raw_rates)
    return table


def other_rows(rows: Sequence[Row], systems: Sequence[System]) -> list[dict[str, Any]]:
    """
    Return the table of baselines and of an earlier revision, on each corpus and on all corpora pooled.

    Args:
        rows (`Sequence[Row]`): From [`~escoita.evaluation.rows.rows`].
        systems (`Sequence[System]`): All systems of the record, the adapter first.
    """
    return [
        vars(other)
        | {"title": row.title, "system": source_of(system), "difference_interval": other.difference_interval}
        | {f"{metric}_interval": other.interval(metric) for metric in METRICS}
        for row in rows
        if row.result
        for system in systems[1:]
        if system.name != BASE and (other := row.of(system.name))
    ]


def limits(evaluation: EvaluationRecord) -> str:
    """
    Return the token limit of each system; empty for a record of escoita 0.1.0, which had one limit for all systems.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): Evaluation of the adapter.
    """
    if evaluation.pooled.main_system.unusable is None:
        return ""
    names = sources_of(evaluation)
    return ", ".join(
        f"{names[system.name]} {'no limit' if system.max_new_tokens is None else thousands(system.max_new_tokens)}"
        for system in evaluation.systems
    )


def drawn(corpora: Sequence[CorpusResult], titles: Mapping[str, str]) -> str:
    """Return the unit of the bootstrap, speakers or utterances, with the corpora if the units differ."""
    by_unit = {
        f"{unit}s": [titles[result.name] for result in corpora if result.unit == unit]
        for unit in ("speaker", "utterance")
    }
    units = {unit: names for unit, names in by_unit.items() if names}
    if len(units) == 1:
        return next(iter(units))
    return " and ".join(f"{unit} ({', '.join(names)})" for unit, names in units.items())


def faults(pooled: CorpusResult) -> list[str]:
    """Return the number of transcripts with each failure mode, for the adapter and the base; zeros are left out."""
    ours, base = pooled.main_system.faults, pooled.of(BASE)
    phrases = []
    for kind, fault in FAULTS.items():
        counts = [getattr(ours, kind), *([getattr(base.faults, kind)] if base else [])]
        if any(counts):
            phrases.append(f"{fault.phrase} {thousands(counts[0])}" + (f" ({thousands(counts[1])})" if base else ""))
    return phrases


def probes(evaluation: EvaluationRecord) -> str:
    """Return a sentence with the number of clips of silence and noise for which the model output words."""
    found = {probe.system: probe for probe in evaluation.probes}
    ours, base = found.get(evaluation.main_system.name), found.get(BASE)
    if ours is None:
        return ""
    sentence = (
        f"The adapter output words for {thousands(ours.with_text)} of {thousands(ours.n)} clips of silence and noise"
    )
    return sentence + (f", the base for {thousands(base.with_text)} of {thousands(base.n)}." if base else ".")


def facts_of(evaluation: EvaluationRecord, titles: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """
    Return the values of an evaluation for the template, by their names in the template.

    Args:
        evaluation ([`EvaluationRecord`]): Evaluation of the adapter.
        titles (`Mapping[str, str]`): Titles of the corpora and of the pooled row.
        folder (`Path`): Folder with the plots.
    """
    table = rows(evaluation, titles)
    results = card_rows(table, evaluation.main_system.name)
    unit = token_name(evaluation.primary)
    return {
        "evaluation": evaluation,
        "main_system": evaluation.main_system,
        "pooled": plain(evaluation.pooled)
        | {"main_system": plain(evaluation.pooled.main_system), "base": plain(evaluation.pooled.of(BASE))},
        "normalized": evaluation.normalizes,
        "primary": evaluation.primary,
        "unit": unit,
        "metrics": metrics_by_rank(evaluation.primary),
        "without_spaces": evaluation.primary == "cer" and without_spaces(evaluation.pooled.language),
        "texts": normalizer_text(evaluation.normalizer),
        "counts_only": "",  # an evaluation of manifests publishes all references
        "titles": titles,
        "rows": results,
        "with_speakers": any(row["speakers"] is not None for row in results),
        "with_raw": any(row["texts"] == "raw" for row in results),
        "notes": notes(evaluation, titles, sources_of(evaluation).__getitem__),
        "limits": limits(evaluation),
        "retention": [
            {"title": row.title, "result": row.result, "adapter": row.systems[0], "base": base, "metric": metric}
            | {"adapter_interval": row.systems[0].interval(metric), "base_interval": base.interval(metric)}
            | {"difference_interval": base.difference_interval}
            for row in retention_rows(evaluation.retention, titles)
            if (base := row.of(BASE)) and base.difference and (metric := base.difference.metric)
        ],
        "rescored": rescored_text(evaluation),
        "decodings": decodings(evaluation, sources_of(evaluation).__getitem__),
        "others": other_rows(table, evaluation.systems),
        "interpretation": interpretation(evaluation, titles),
        "composition": figures.composition((titles[result.name], result.share) for result in evaluation.corpora),
        "drawn": drawn(evaluation.corpora, titles),
        "faults": faults(evaluation.pooled),
        "probes": probes(evaluation),
        "plots": {name: _titled(title, unit) for name, title in PLOTS.items() if (folder / name).is_file()},
    }


def evaluation_card(evaluation: EvaluationRecord, folder: Path, adapter: str) -> str:
    """
    Return the front matter and the blocks of an evaluation, for a card that escoita did not write.

    Args:
        evaluation ([`EvaluationRecord`]): Evaluation of the adapter.
        folder (`Path`): Folder with the plots.
        adapter (`str`): Folder or repository of the adapter.

    Returns:
        `str`: Front matter with `model-index` only, and the blocks `results` and `evaluation`.
    """
    titles = titles_of(evaluation)
    entries = expected_index(no_recipe(), evaluation, hub_id(adapter))
    front = ModelCardData(model_name=Path(adapter).name, eval_results=entries)
    template = environment().get_template(CARD_TEMPLATE)
    context = template.new_context(plain(facts_of(evaluation, titles, folder)))
    text = "\n".join(marked(name, "".join(template.blocks[name](context))) for name in BLOCKS)
    return f"---\n{front}\n---\n\n{text}"


def no_recipe() -> Recipe:
    """Return an empty recipe for an adapter that was trained without escoita."""
    corpora: dict[str, Any] = {"train": [], "validation": [], "test": []}
    fields: dict[str, Any] = {"corpora": Corpora.model_construct(**corpora)}
    return Recipe.model_construct(**fields)
