"""
Writes the model card of a run, from its records alone.

    python cards/build.py --run runs/quickstart-uzbek
"""

import json
from functools import partial
from pathlib import Path

from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from cards import procedure, results
from cards.metadata import hub_id, metadata, titles_of_tests
from cards.overlap import overlaps
from escoita import figures, markdown
from escoita.data_record import DataRecord
from escoita.errors import RecordError
from escoita.evaluation import EvaluationRecord
from escoita.files import write_atomically
from escoita.plots import training_plot
from escoita.recipe import Recipe
from escoita.records import TrainingRecord
from escoita.rundir import RunDirectory


# Drawn with the results, and shown where they are there.
PLOTS = {"wer-by-corpus.svg": "Word error rate by corpus", "wer-by-duration.svg": "Word error rate by duration"}
FILTERS = (
    markdown.line,
    markdown.prose,
    markdown.link,
    markdown.code,
    markdown.code_cell,
    figures.thousands,
    figures.percent,
    figures.interval,
    figures.points,
    figures.points_interval,
    figures.speed,
)


def write_card(path: Path) -> Path:
    """
    Writes `README.md` of a run, and beside it the plot of its training. What the card names is where it is now:
    folders of this machine until it is published.

    Args:
        path (`Path`): The run directory.

    Returns:
        `Path`: The card.

    Raises:
        RecordError: The run is not trained or not evaluated yet.
    """
    run = RunDirectory(path)
    recipe = run.load_recipe()
    card = build_card(run, recipe, recipe.base, str(run.adapter))
    if curve := training_plot(TrainingRecord.read(run.training)):
        write_atomically(run.curve, curve)
    write_atomically(run.card, card)
    return run.card


def build_card(run: RunDirectory, recipe: Recipe, base: str, adapter: str) -> str:
    """
    Builds the card.

    Args:
        run ([`RunDirectory`]): Holds the records.
        recipe ([`Recipe`]): Of the run.
        base (`str`): Folder or repository of the base, as a reader will find it.
        adapter (`str`): The same of the adapter.

    Returns:
        `str`: Front matter and Markdown.

    Raises:
        RecordError: A record is missing or broken, or the evaluation is of another base or adapter than the run
            holds.
    """
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    judged = evaluation.judged
    if (judged.base_sha256, judged.adapter_sha256) != (training.base_sha256, training.adapter_sha256):
        raise RecordError(f"{run.results}: measured another base or adapter than was trained here; evaluate again")
    data = DataRecord.read(run.data) if run.data.is_file() else None
    plots = {name: title for name, title in PLOTS.items() if (run.eval / name).is_file()}
    front = metadata(recipe, evaluation, base)
    return f"---\n{front}\n---\n\n{body(recipe, training, evaluation, data, plots, base, adapter)}"


def body(
    recipe: Recipe,
    training: TrainingRecord,
    evaluation: EvaluationRecord,
    data: DataRecord | None,
    plots: dict[str, str],
    base: str,
    adapter: str,
) -> str:
    """Renders the template."""
    environment = SandboxedEnvironment(
        loader=PackageLoader("cards"),
        undefined=StrictUndefined,
        autoescape=False,  # S701: Markdown, not HTML; every value passes a filter of escoita.markdown
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Not as HTML, which would escape < and >; and not as ASCII, as Python reads no pairs of surrogates.
    environment.filters["tojson"] = partial(json.dumps, ensure_ascii=False)
    environment.filters |= {function.__name__: function for function in FILTERS}
    titles = {result.name: result.name for result in evaluation.corpora} | titles_of_tests(recipe)
    named = titles | {"pooled": "All, pooled by words"}
    # Only of families of which one was run: others need packages or turns of their own, which escoita spares them.
    plain = f"snippets/{training.family}.py.jinja"
    snippet = ""
    if plain in environment.list_templates():
        snippet = environment.get_template(plain).render(
            base=base,
            revision=recipe.base_revision,
            adapter=adapter,
            prompt=recipe.prompt,
            max_new_tokens=recipe.eval.max_new_tokens,
        )
    return environment.get_template("adapter.md.jinja").render(
        recipe=recipe,
        card=recipe.card,
        method=procedure.method(recipe),
        parameters=procedure.parameters(training),
        targets=procedure.targets(recipe),
        surroundings=procedure.surroundings(training),
        pace=procedure.pace(training.pace) if training.pace else "",
        curve=procedure.curve(training),
        curve_title=procedure.CURVE,
        prompt=recipe.prompt,
        training=training,
        hyperparameters=recipe.training,
        corpora={corpus.name: corpus for corpus in [*recipe.corpora.validation, *recipe.corpora.train]},
        evaluation=evaluation,
        judged=evaluation.judged,
        pooled=evaluation.pooled,
        normalised=evaluation.normalizer != "raw",
        texts=results.texts(evaluation.normalizer),
        heard_texts=results.texts(training.normalizer),
        rows=results.rows(evaluation, named),
        others=results.others(evaluation, named),
        composition=figures.composition((titles[result.name], result.word_share) for result in evaluation.corpora),
        drawn=results.drawn(evaluation.corpora, titles),
        faults=results.faults(evaluation.pooled),
        probes=results.probes(evaluation),
        plots=plots,
        overlaps=overlaps(data, titles) if data else [],
        missing=[f"{corpus.name} ({corpus.split})" for corpus in data.missing] if data else [],
        base=base,
        base_url=f"https://huggingface.co/{base}" if hub_id(base) else None,
        snippet_escoita=escoita_snippet(base, recipe.base_revision, adapter),
        snippet=snippet.strip(),
    )


def escoita_snippet(base: str, revision: str | None, adapter: str) -> str:
    """How to use the adapter with this project."""
    pinned = f", revision={revision!r}" if revision else ""
    return f"""\
from escoita.transcribe import Transcriber

transcriber = Transcriber.load({base!r}, adapter={adapter!r}{pinned})
print(transcriber.transcribe_file("clip.wav").text)"""


if __name__ == "__main__":
    from escoita.cli import card, script

    script(card)
