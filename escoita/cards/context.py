"""Collect what a card says of an evaluation: its rows, and sentences made of figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from escoita.cards import context as results
from escoita.cards.front_matter import marked
from escoita.cards.interpretation import interpretation
from escoita.cards.metadata import expected_index, hub_id
from escoita.cards.template import OURS, environment, plain
from escoita.evaluation.verdicts import above_one, insertions_note, reasons, short
from escoita.recipe.schema import Corpora, Recipe
from escoita.records.evaluation import BASE, CorpusResult, Difference, EvaluationRecord, MacroMean, Rates, System
from escoita.utils import formatting as figures
from escoita.utils.formatting import thousands


TEXTS = {
    "raw": "compared as they are",
    "basic": "normalised as by Whisper's BasicTextNormalizer: lower case, no punctuation",
    "galician": "normalised for Galician: lower case, no punctuation, accents and ñ kept",
    "uzbek": "normalised for Uzbek: lower case, no punctuation, apostrophes in one spelling",
    "uzbek-latin": "normalised for Uzbek: lower case, no punctuation, apostrophes in one spelling, all in Latin",
}
FAULTS = {
    "empty": "nothing heard",
    "loop": "loops",
    "wrong_script": "another script",
    "wrong_language": "another language",
    "chat_like": "an answer instead of a transcript",
    "truncated": "cut off at the limit of tokens",
}


@dataclass(frozen=True)
class Row:
    """
    Base beside adapter in one row of the table.

    Args:
        title (`str`): Of the corpus.
        texts (`str`): `normalised` or `raw`.
        clips (`int`, *optional*): Utterances; none of a mean over corpora.
        adapter ([`~escoita.records.evaluation.Rates`] or [`~escoita.records.evaluation.MacroMean`]): Its rates.
        base ([`Rates`] or [`MacroMean`], *optional*): The same, if it was run.
        difference ([`~escoita.records.evaluation.Difference`], *optional*): Adapter against base.
        verdict (`str`, *optional*): The verdict on the difference.
    """

    title: str
    texts: str
    clips: int | None
    adapter: Rates | MacroMean
    base: Rates | MacroMean | None
    difference: Difference | None = None
    verdict: str = ""


@dataclass(frozen=True)
class Other:
    """
    Another system on one corpus.

    Args:
        title (`str`): Of the corpus.
        system (`str`): What the card calls it.
        rates ([`~escoita.records.evaluation.Rates`]): Under the normaliser.
        difference ([`~escoita.records.evaluation.Difference`], *optional*): Adapter against it.
        verdict (`str`): The verdict on the difference; empty without one.
    """

    title: str
    system: str
    rates: Rates
    difference: Difference | None
    verdict: str


def texts(normalizer: str) -> str:
    """How texts were made alike, to follow on "Texts were"."""
    return TEXTS.get(normalizer, f"normalised by {normalizer}")


def rows(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> list[Row]:
    """
    The table of results: each corpus, all pooled, and their mean; under a normaliser, the raw rates beside, where they
    are others.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): With the adapter as the judged system.
        titles (`Mapping[str, str]`): What the card calls the corpora.
    """
    table = []
    for result in evaluation.rows:
        title, ours, base = titles[result.name], result.judged, result.of(BASE)
        normalized, raw = (base.normalized, base.raw) if base else (None, None)
        against, said = result.against(BASE), short(result, BASE)
        table.append(Row(title, "normalised", result.n, ours.normalized, normalized, against, said))
        if (ours.raw, raw) != (ours.normalized, normalized):
            table.append(Row(title, "raw", result.n, ours.raw, raw))
    if len(evaluation.corpora) > 1:
        means = {mean.system: mean for mean in evaluation.macro}
        table.append(Row("Mean of the corpora", "normalised", None, means[evaluation.judged.name], means.get(BASE)))
    return table


def others(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> list[Other]:
    """Baselines, and an earlier revision, on each corpus and on all pooled."""
    return [
        Other(
            titles[result.name],
            called(system),
            heard.normalized,
            result.against(system.name),
            short(result, system.name),
        )
        for result in evaluation.rows
        for system in evaluation.systems[1:]
        if system.name != BASE and (heard := result.of(system.name))
    ]


def called(system: System) -> str:
    """A model by its repository or folder; another adapter is an earlier revision of this one, told by where it is."""
    return f"{system.name} revision, {system.adapter}" if system.adapter else system.base


def notes(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> list[str]:
    """
    Say what limits the verdicts, and explain rates over 100 %.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): With the adapter as the judged system.
        titles (`Mapping[str, str]`): What the card calls the corpora.

    Returns:
        `list[str]`: Sentences as plain text; none of a record of 0.1.0.
    """
    names = {system.name: called(system) for system in evaluation.systems} | {BASE: "the base"}
    names[evaluation.judged.name] = "the adapter"
    said = [
        f"{titles[result.name]}, the adapter against {names[system.name]}: {reason}."
        for result in evaluation.rows
        for system in evaluation.systems[1:]
        for reason in reasons(result, system.name, names.__getitem__)
    ]
    over = [
        f"{insertions_note(each, titles[result.name], names.__getitem__)}."
        for result, each in above_one(evaluation.rows)
    ]
    return said + over


def limits(evaluation: EvaluationRecord) -> str:
    """
    Say at how many tokens each system stops; nothing of a record of 0.1.0, which had one limit for all systems.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): With the adapter as the judged system.
    """
    if evaluation.pooled.judged.unusable is None:
        return ""
    names = {evaluation.judged.name: "the adapter", BASE: "the base"}
    return ", ".join(
        f"{names.get(system.name) or called(system)}"
        f" {'no limit' if system.max_new_tokens is None else thousands(system.max_new_tokens)}"
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
    ours, base = pooled.judged.faults, pooled.of(BASE)
    said = []
    for kind, fault in FAULTS.items():
        counts = [getattr(ours, kind), *([getattr(base.faults, kind)] if base else [])]
        if any(counts):
            said.append(f"{fault} {thousands(counts[0])}" + (f" ({thousands(counts[1])})" if base else ""))
    return said


def probes(evaluation: EvaluationRecord) -> str:
    """In how many probes of silence and noise words were heard."""
    found = {probe.system: probe for probe in evaluation.probes}
    ours, base = found.get(evaluation.judged.name), found.get(BASE)
    if ours is None:
        return ""
    said = f"In {thousands(ours.n)} probes of silence and noise the adapter heard words in {thousands(ours.with_text)}"
    return said + (f", the base in {thousands(base.with_text)} of {thousands(base.n)}." if base else ".")


# Blocks of the template that need nothing but an evaluation.
BLOCKS = ("results", "evaluation")
# Drawn with the results, and shown where they are there.
PLOTS = {
    "wer-by-corpus.svg": "Word error rate by corpus",
    "wer-by-duration.svg": "Word error rate by duration",
    "wer-distribution.svg": "How word error rates are spread over utterances",
}


def facts_of(evaluation: EvaluationRecord, titles: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """
    All that a template may show of an evaluation, by the names that it has there.

    Args:
        evaluation ([`EvaluationRecord`]): With the adapter as the judged system.
        titles (`Mapping[str, str]`): What the card calls the corpora.
        folder (`Path`): Holds the plots.
    """
    named = {**titles, "pooled": "All, pooled by words"}
    rows = results.rows(evaluation, named)
    return {
        "evaluation": evaluation,
        "judged": evaluation.judged,
        "pooled": plain(evaluation.pooled)
        | {"judged": plain(evaluation.pooled.judged), "base": plain(evaluation.pooled.of(BASE))},
        "normalised": evaluation.normalizer != "raw",
        "texts": results.texts(evaluation.normalizer),
        "titles": titles,
        "rows": rows,
        "with_raw": any(row.texts == "raw" for row in rows),
        "notes": results.notes(evaluation, named),
        "limits": results.limits(evaluation),
        "others": results.others(evaluation, named),
        "interpretation": interpretation(evaluation, named),
        "composition": figures.composition((titles[result.name], result.word_share) for result in evaluation.corpora),
        "drawn": results.drawn(evaluation.corpora, titles),
        "faults": results.faults(evaluation.pooled),
        "probes": results.probes(evaluation),
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
    titles = {result.name: result.name for result in evaluation.corpora}
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
