"""What a card says of an evaluation, its own or that of an adapter that was trained elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from escoita.cards import results
from escoita.cards.blocks import marked
from escoita.cards.interpretation import interpretation
from escoita.cards.metadata import expected_index, hub_id
from escoita.cards.template import OURS, environment, plain
from escoita.utils import figures
from escoita.records.evaluation import BASE, EvaluationRecord
from escoita.recipe.recipe import Corpora, Recipe


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
