"""
Writes the model card of a run, from its records alone.

    python cards/build.py --run runs/quickstart-uzbek
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escoita.cards import sections as procedure
from escoita.cards.anonymize import redacted_data
from escoita.cards.context import facts_of
from escoita.cards.editing import revise, sealed, standing_card
from escoita.cards.metadata import citation, hub_id, metadata
from escoita.cards.sections import architecture, example, overlaps
from escoita.cards.snippets import snippets
from escoita.cards.template import own_template, render
from escoita.errors import RecordError
from escoita.evaluation.presentation import normalizer_text, titles_of
from escoita.hub.vocabulary import check_card
from escoita.recipe.schema import Corpus, Recipe
from escoita.records.data import DataRecord
from escoita.records.evaluation import EvaluationRecord
from escoita.records.plots import training_plot
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.utils.files import write_atomically


@dataclass(frozen=True)
class Use:
    """
    What one corpus was used for.

    Args:
        title (`str`): What the card calls it.
        url (`str`, *optional*): Where it can be had.
        split (`str`): `train`, `validation` or `test`.
        clips (`int`): Those that were used.
        audio_seconds (`float`): Their length together.
        license (`str`, *optional*): As the recipe has it.
    """

    title: str
    url: str | None
    split: str
    clips: int
    audio_seconds: float
    license: str | None


def write_card(path: Path, force: bool = False) -> Path:
    """
    Writes `README.md` of a run, and beside it the plot of its training. What the card names is where it is now:
    folders of this machine until it is published. What a person wrote into it stays.

    Args:
        path (`Path`): The run directory.
        force (`bool`, *optional*): Write over what a person changed inside the blocks that are made.

    Returns:
        `Path`: The card.

    Raises:
        CardConflict: A person changed what is made; nothing is written.
        PublishError: The Hub would refuse the front matter, as far as that is known without it; nothing is written.
        RecordError: The run is not trained or not evaluated yet.
        RecipeError: The recipe's own template cannot be used.
    """
    run = RunDirectory(path)
    recipe = run.load_recipe()
    card = build_card(run, recipe, recipe.base, str(run.adapter), own_template(recipe, run))
    card = revise(standing_card(run.card), card, force)
    check_card(card)
    if curve := training_plot(TrainingRecord.read(run.training)):
        write_atomically(run.curve, curve)
    write_atomically(run.card, card)
    return run.card


def build_card(run: RunDirectory, recipe: Recipe, base: str, adapter: str, template: str | None = None) -> str:
    """
    Builds the card.

    Args:
        run ([`RunDirectory`]): Holds the records.
        recipe ([`Recipe`]): Of the run.
        base (`str`): Folder or repository of the base, as a reader will find it.
        adapter (`str`): The same of the adapter.
        template (`str`, *optional*): Source of the template that the recipe names, from
            [`~escoita.cards.template.own_template`]; the template of escoita if not given.

    Returns:
        `str`: Front matter and Markdown.

    Raises:
        RecordError: A record is missing or broken, or the evaluation is of another base or adapter than the run
            holds.
        RecipeError: The recipe's own template has a mistake.
    """
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    main_system = evaluation.main_system
    base_sha256 = main_system.expected_base_sha256 or main_system.base_sha256
    if (base_sha256, main_system.adapter_sha256) != (training.base_sha256, training.adapter_sha256):
        raise RecordError(f"{run.results}: measured another base or adapter than was trained here; evaluate again")
    data = redacted_data(DataRecord.read(run.data), recipe) if run.data.is_file() else None
    values = facts(run, recipe, training, evaluation, data, base, adapter)
    front = metadata(recipe, evaluation, base, adapter)
    body = render(values, template, recipe.card.template or "")
    return sealed(f"---\n{front}\n---\n\n{body.rstrip()}\n")


def facts(
    run: RunDirectory,
    recipe: Recipe,
    training: TrainingRecord,
    evaluation: EvaluationRecord,
    data: DataRecord | None,
    base: str,
    adapter: str,
) -> dict[str, Any]:
    """All that a template may show, by the names that it has there."""
    titles = titles_of(evaluation, recipe)
    shown = example(run, recipe, evaluation)
    return facts_of(evaluation, titles, run.eval) | {
        "recipe": recipe,
        "card": recipe.card,
        "adapter": adapter,
        "verifiable": hub_id(adapter) is not None,
        "kind": procedure.kind(recipe),
        "trained_with": procedure.trained_with(training),
        "method": procedure.method(recipe),
        "adapted": procedure.adapted(recipe),
        "turns": procedure.turns(recipe, training.family),
        "parameters": procedure.parameters(training),
        "surroundings": procedure.surroundings(training),
        "pace": procedure.pace(training.pace) if training.pace else "",
        "curve": procedure.curve(training),
        "curve_title": procedure.CURVE,
        "data_changes": procedure.data_changes(training),
        "training": training,
        "versions": [f"{name} {version}" for name, version in training.versions.items()],
        "hyperparameters": recipe.training,
        "uses": uses(recipe, training, evaluation),
        "descriptions": descriptions(recipe),
        "heard_texts": normalizer_text(training.normalizer),
        "durations": run.durations.relative_to(run.path).as_posix() if run.durations.is_file() else "",
        "overlaps": overlaps(data, titles) if data else [],
        "missing": [f"{corpus.name} ({corpus.split})" for corpus in data.missing] if data else [],
        "example": shown,
        "example_clips": sum(result.n for result in evaluation.corpora if shown and result.name == shown.corpus),
        "architecture": architecture(recipe, training.family),
        "citation": citation(recipe, training, base, adapter),
        "base": base,
        "base_url": f"https://huggingface.co/{base}" if hub_id(base) else None,
        "snippets": snippets(recipe, training, base, adapter),
    }


def uses(recipe: Recipe, training: TrainingRecord, evaluation: EvaluationRecord) -> list[Use]:
    """What each corpus gave to each split: training and validation as they were used, tests as they were scored."""

    def use(name: str, split: str, clips: int, audio_seconds: float) -> Use:
        title, url, license_ = (_told(recipe, name, split, key) for key in ("title", "url", "license"))
        return Use(title or name, url, split, clips, audio_seconds, license_)

    trained = [use(each.name, each.split, each.utterances, each.audio_seconds) for each in training.corpora]
    return trained + [use(result.name, "test", result.n, result.audio_seconds) for result in evaluation.corpora]


def descriptions(recipe: Recipe) -> dict[str, str]:
    """What is said of each corpus, once, by what the card calls it."""
    return {corpus.title or corpus.name: corpus.description for corpus in everything(recipe) if corpus.description}


def everything(recipe: Recipe) -> list[Corpus]:
    """The corpora of all splits."""
    return [*recipe.corpora.train, *recipe.corpora.validation, *recipe.corpora.test]


def _told(recipe: Recipe, name: str, split: str, key: str) -> str | None:
    """What a recipe says of a corpus: in that split, or where it is silent, in another."""
    corpora = [*getattr(recipe.corpora, split), *everything(recipe)]
    return next((said for corpus in corpora if corpus.name == name and (said := getattr(corpus, key))), None)
