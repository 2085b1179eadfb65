"""Collect what a card says of an evaluation: its tables, and sentences made of figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from escoita.cards.front_matter import marked
from escoita.cards.interpretation import interpretation
from escoita.cards.metadata import expected_index, hub_id
from escoita.cards.template import OURS, environment, plain
from escoita.evaluation.presentation import (
    FAULTS,
    Row,
    normalizer_text,
    notes,
    rows,
    source_of,
    sources_of,
    titles_of,
)
from escoita.recipe.schema import Corpora, Recipe
from escoita.records.evaluation import BASE, CorpusResult, EvaluationRecord, System
from escoita.utils import formatting as figures
from escoita.utils.formatting import thousands


# Blocks of the template that need nothing but an evaluation.
BLOCKS = ("results", "evaluation")
# Drawn with the results, and shown where they are there.
PLOTS = {
    "wer-by-corpus.svg": "Word error rate by corpus",
    "wer-by-duration.svg": "Word error rate by duration",
    "wer-distribution.svg": "How word error rates are spread over utterances",
}


def card_rows(rows: Sequence[Row], main_system: str) -> list[dict[str, Any]]:
    """
    Return the table of results: adapter and base side by side, and their raw rates below if these differ.

    Args:
        rows (`Sequence[Row]`): From [`~escoita.evaluation.presentation.rows`].
        main_system (`str`): Name of the adapter in the record.

    Returns:
        `list[dict]`: Of each row `title`, `texts` (`normalised` or `raw`), `clips`, `adapter` and `base` with their
        rates, `difference` and `verdict`.
    """
    table = []
    for row in rows:
        ours, base = row.of(main_system), row.of(BASE)
        if ours is None:
            continue
        told: dict[str, Any] = {
            "title": row.title,
            "texts": "normalised",
            "clips": row.clips,
            "adapter": ours.rates,
            "base": base.rates if base else None,
            "difference": base.difference if base else None,
            "verdict": base.verdict if base else "",
        }
        table.append(told)
        raw = base.raw if base else None
        if ours.raw and (ours.raw, raw) != (ours.rates, told["base"]):
            changed = {"texts": "raw", "adapter": ours.raw, "base": raw, "difference": None, "verdict": ""}
            table.append(told | changed)
    return table


def other_rows(rows: Sequence[Row], systems: Sequence[System]) -> list[dict[str, Any]]:
    """
    Return the table of baselines and an earlier revision, on each corpus and on all pooled.

    Args:
        rows (`Sequence[Row]`): From [`~escoita.evaluation.presentation.rows`].
        systems (`Sequence[System]`): All systems of the record, the adapter first.
    """
    return [
        vars(other) | {"title": row.title, "system": source_of(system)}
        for row in rows
        if row.result
        for system in systems[1:]
        if system.name != BASE and (other := row.of(system.name))
    ]


def limits(evaluation: EvaluationRecord) -> str:
    """
    Say at how many tokens each system stops; nothing of a record of 0.1.0, which had one limit for all systems.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): With the adapter as the judged system.
    """
    if evaluation.pooled.main_system.unusable is None:
        return ""
    names = sources_of(evaluation)
    return ", ".join(
        f"{names[system.name]} {'no limit' if system.max_new_tokens is None else thousands(system.max_new_tokens)}"
        for system in evaluation.systems
    )


def drawn(corpora: Sequence[CorpusResult], titles: Mapping[str, str]) -> str:
    """What the bootstrap drew: speakers or utterances, and of which corpora where they differ."""
    by_unit = {
        f"{unit}s": [titles[result.name] for result in corpora if result.unit == unit]
        for unit in ("speaker", "utterance")
    }
    units = {unit: names for unit, names in by_unit.items() if names}
    if len(units) == 1:
        return next(iter(units))
    return " and ".join(f"{unit} ({', '.join(names)})" for unit, names in units.items())


def faults(pooled: CorpusResult) -> list[str]:
    """What went wrong beside plain edits, where it did: in how many clips of the adapter, and of the base."""
    ours, base = pooled.main_system.faults, pooled.of(BASE)
    said = []
    for kind, fault in FAULTS.items():
        counts = [getattr(ours, kind), *([getattr(base.faults, kind)] if base else [])]
        if any(counts):
            said.append(f"{fault.phrase} {thousands(counts[0])}" + (f" ({thousands(counts[1])})" if base else ""))
    return said


def probes(evaluation: EvaluationRecord) -> str:
    """In how many probes of silence and noise words were heard."""
    found = {probe.system: probe for probe in evaluation.probes}
    ours, base = found.get(evaluation.main_system.name), found.get(BASE)
    if ours is None:
        return ""
    said = f"In {thousands(ours.n)} probes of silence and noise the adapter heard words in {thousands(ours.with_text)}"
    return said + (f", the base in {thousands(base.with_text)} of {thousands(base.n)}." if base else ".")


def facts_of(evaluation: EvaluationRecord, titles: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """
    All that a template may show of an evaluation, by the names that it has there.

    Args:
        evaluation ([`EvaluationRecord`]): With the adapter as the judged system.
        titles (`Mapping[str, str]`): Titles of the corpora and of the pool.
        folder (`Path`): Holds the plots.
    """
    table = rows(evaluation, titles)
    results = card_rows(table, evaluation.main_system.name)
    return {
        "evaluation": evaluation,
        "main_system": evaluation.main_system,
        "pooled": plain(evaluation.pooled)
        | {"main_system": plain(evaluation.pooled.main_system), "base": plain(evaluation.pooled.of(BASE))},
        "normalised": evaluation.normalizer != "raw",
        "texts": normalizer_text(evaluation.normalizer),
        "titles": titles,
        "rows": results,
        "with_raw": any(row["texts"] == "raw" for row in results),
        "notes": notes(evaluation, titles, sources_of(evaluation).__getitem__),
        "limits": limits(evaluation),
        "others": other_rows(table, evaluation.systems),
        "interpretation": interpretation(evaluation, titles),
        "composition": figures.composition((titles[result.name], result.word_share) for result in evaluation.corpora),
        "drawn": drawn(evaluation.corpora, titles),
        "faults": faults(evaluation.pooled),
        "probes": probes(evaluation),
        "plots": {name: title for name, title in PLOTS.items() if (folder / name).is_file()},
    }


def evaluation_card(evaluation: EvaluationRecord, folder: Path, adapter: str) -> str:
    """
    Front matter and blocks of an evaluation, to be put into the card that somebody wrote.

    Args:
        evaluation ([`EvaluationRecord`]): With the adapter as the judged system.
        folder (`Path`): Holds its plots.
        adapter (`str`): Folder or repository.

    Returns:
        `str`: model-index and nothing else in the front matter; the blocks that tell results and how they were taken.
    """
    titles = titles_of(evaluation)
    entries = expected_index(no_recipe(), evaluation, hub_id(adapter))
    front = ModelCardData(model_name=Path(adapter).name, eval_results=entries)
    template = environment().get_template(OURS)
    context = template.new_context(plain(facts_of(evaluation, titles, folder)))
    text = "\n".join(marked(name, "".join(template.blocks[name](context))) for name in BLOCKS)
    return f"---\n{front}\n---\n\n{text}"


def no_recipe() -> Recipe:
    """Of an adapter that was trained elsewhere: a recipe that knows nothing of the corpora it was tested on."""
    corpora: dict[str, Any] = {"train": [], "validation": [], "test": []}
    known: dict[str, Any] = {"corpora": Corpora.model_construct(**corpora)}
    return Recipe.model_construct(**known)
