"""
Write the model card of a run from its records.

    python cards/build.py --run runs/quickstart-uzbek
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escoita.cards import sections as procedure
from escoita.cards.anonymize import anonymized_data
from escoita.cards.context import facts_of
from escoita.cards.editing import existing_card, revise, sealed
from escoita.cards.metadata import citation, hub_id, metadata
from escoita.cards.sections import architecture, example, experimental, overlaps
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
from escoita.utils.files import public_name, write_atomically
from escoita.utils.languages import is_right_to_left, language_name


class OtherWeightsError(RecordError):
    """Report an evaluation of another base or adapter than that of the run."""

    problem = "the evaluation has another base or adapter than this run"
    hint = "run `escoita eval` again"


@dataclass(frozen=True)
class Use:
    """
    Represent the use of a corpus in one split.

    Args:
        title (`str`): Title of the corpus.
        url (`str`, *optional*): Web address of the corpus.
        split (`str`): `train`, `validation` or `test`.
        clips (`int`): Number of clips that were used.
        audio_seconds (`float`): Total duration of these clips in seconds.
        license (`str`, *optional*): License in the recipe.
    """

    title: str
    url: str | None
    split: str
    clips: int
    audio_seconds: float
    license: str | None


def write_card(path: Path, force: bool = False) -> Path:
    """
    Write `README.md` and the training plot of a run. Until the run is published, the card names folders of this
    machine. Text that was written by hand is kept.

    Args:
        path (`Path`): Run directory.
        force (`bool`, *optional*, defaults to `False`): Whether edits by hand in generated sections are overwritten.

    Returns:
        `Path`: Path of the card.

    Raises:
        CardConflict: Generated content was edited by hand; nothing is written.
        PublishError: The Hub would refuse the front matter; nothing is written.
        RecordError: The run is not trained or not evaluated.
        RecipeError: The template of the recipe cannot be used.
    """
    run = RunDirectory(path)
    recipe = run.load_recipe()
    card = build_card(run, recipe, public_name(recipe.base), str(run.adapter), own_template(recipe, run))
    card = revise(existing_card(run.card), card, force)
    check_card(card)
    if curve := training_plot(TrainingRecord.read(run.training)):
        write_atomically(run.curve, curve)
    write_atomically(run.card, card)
    return run.card


def build_card(run: RunDirectory, recipe: Recipe, base: str, adapter: str, template: str | None = None) -> str:
    """
    Build the card.

    Args:
        run ([`RunDirectory`]): Run directory with the records.
        recipe ([`Recipe`]): Recipe of the run.
        base (`str`): Folder or repository of the base, as readers find it.
        adapter (`str`): Folder or repository of the adapter.
        template (`str`, *optional*): Source of the template that the recipe names, from
            [`~escoita.cards.template.own_template`]; the template of escoita if not given.

    Returns:
        `str`: Front matter and Markdown.

    Raises:
        RecordError: A record is missing or cannot be read.
        OtherWeightsError: The evaluation has another base or adapter than the run.
        RecipeError: The template of the recipe has a mistake.
    """
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    main_system = evaluation.main_system
    base_sha256 = main_system.expected_base_sha256 or main_system.base_sha256
    if (base_sha256, main_system.adapter_sha256) != (training.base_sha256, training.adapter_sha256):
        raise OtherWeightsError(path=run.results)
    data = anonymized_data(DataRecord.read(run.data), recipe) if run.data.is_file() else None
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
    """Return the values for the template, by their names in the template."""
    titles = titles_of(evaluation, recipe)
    chosen = example(run, recipe, evaluation)
    return facts_of(evaluation, titles, run.eval) | {
        "recipe": recipe,
        "language_name": language_name(recipe.language),
        "example_dir": "rtl" if chosen and is_right_to_left(chosen.reference) else "ltr",
        "card": recipe.card.model_copy(update={"base_terms": procedure.base_terms(recipe, training)}),
        "adapter": adapter,
        "verifiable": hub_id(adapter) is not None,
        "kind": procedure.kind(recipe, training.family),
        "trained_with": procedure.trained_with(training),
        "method": procedure.method(recipe),
        "adapted": procedure.adapted(recipe),
        "turns": procedure.turns(recipe, training),
        "parameters": procedure.parameters(training),
        "early_stop": procedure.early_stop(recipe, training),
        "surroundings": procedure.surroundings(training),
        "pace": procedure.pace(training.pace) if training.pace else "",
        "curve": procedure.curve(training),
        "curve_title": procedure.CURVE,
        "data_changes": procedure.extensions(training) + procedure.data_changes(training),
        "training": training,
        "versions": [f"{name} {version}" for name, version in training.versions.items()],
        "hyperparameters": recipe.training,
        "uses": uses(recipe, training, evaluation),
        "descriptions": descriptions(recipe),
        "validation_texts": normalizer_text(training.normalizer),
        "durations": run.durations.relative_to(run.path).as_posix() if run.durations.is_file() else "",
        "overlaps": overlaps(data, titles) if data else [],
        "missing": [f"{corpus.name} ({corpus.split})" for corpus in data.missing] if data else [],
        "counts_only": ", ".join(titles[name] for name in without_references(recipe, evaluation)),
        "example": chosen,
        "example_clips": sum(result.n for result in evaluation.corpora if chosen and result.name == chosen.corpus),
        "architecture": architecture(recipe, training.family),
        # Cards of escoita 0.1.0 do not have this sentence.
        "experimental": "" if evaluation.is_of_0_1 else experimental(training.family),
        "citation": citation(recipe, training, base, adapter),
        "base": base,
        "base_url": f"https://huggingface.co/{base}" if hub_id(base) else None,
        "snippets": snippets(recipe, training, base, adapter),
    }


# The use of corpora of other languages, in the table of corpora.
FORGETTING = "forgetting"


def uses(recipe: Recipe, training: TrainingRecord, evaluation: EvaluationRecord) -> list[Use]:
    """Return the uses of all corpora: training and validation, and the scored clips of test and forgetting."""

    def use(name: str, split: str, clips: int, audio_seconds: float) -> Use:
        title, url, license_ = (_corpus_value(recipe, name, split, key) for key in ("title", "url", "license"))
        return Use(title or name, url, split, clips, audio_seconds, license_)

    trained = [use(each.name, each.split, each.utterances, each.audio_seconds) for each in training.corpora]
    tested = {"test": evaluation.corpora, FORGETTING: evaluation.retention}
    return trained + [
        use(result.name, split, result.n, result.audio_seconds)
        for split, results in tested.items()
        for result in results
    ]


def without_references(recipe: Recipe, evaluation: EvaluationRecord) -> list[str]:
    """Return the evaluated corpora whose references are not published, so that their rates follow from counts only."""
    private = {corpus.name for corpus in recipe.evaluated_corpora if not corpus.publish_references}
    return [result.name for result in [*evaluation.corpora, *evaluation.retention] if result.name in private]


def descriptions(recipe: Recipe) -> dict[str, str]:
    """Return the description of each corpus by its title."""
    return {corpus.title or corpus.name: corpus.description for corpus in all_corpora(recipe) if corpus.description}


def all_corpora(recipe: Recipe) -> list[Corpus]:
    """Return the corpora of all splits, and those that measure forgetting."""
    return [*recipe.corpora.train, *recipe.corpora.validation, *recipe.evaluated_corpora]


def _corpus_value(recipe: Recipe, name: str, split: str, key: str) -> str | None:
    """Return a value of a corpus in the recipe: from this split, or else from another one."""
    corpora = [*getattr(recipe.corpora, split, []), *all_corpora(recipe)]
    return next((value for corpus in corpora if corpus.name == name and (value := getattr(corpus, key))), None)
