"""
Writes the model card of a run, from its records alone.

    python cards/build.py --run runs/quickstart-uzbek
"""

from pathlib import Path

from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from cards import text
from cards.metadata import is_repo_id, metadata
from escoita.recipe import Recipe, load_recipe
from escoita.records import EvaluationRecord, TrainingRecord
from escoita.rundir import RunDirectory


SNIPPET = """\
from escoita.transcribe import Transcriber

transcriber = Transcriber.load({base!r}, adapter={adapter!r})
print(transcriber.transcribe_file("clip.wav").text)"""


def write_card(path: Path) -> Path:
    """
    Writes `README.md` of a run. What it names is where it is now: folders of this machine until it is published.

    Args:
        path (`Path`): The run directory.

    Returns:
        `Path`: The card.

    Raises:
        RecordError: The run is not trained or not evaluated yet.
    """
    run = RunDirectory(path)
    recipe = load_recipe(run.recipe)
    run.card.write_text(build_card(run, recipe, recipe.base, str(run.adapter)), "utf-8")
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
    """
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    front = metadata(recipe, evaluation, base)
    return f"---\n{front}\n---\n\n{body(recipe, training, evaluation, base, adapter)}"


def body(recipe: Recipe, training: TrainingRecord, evaluation: EvaluationRecord, base: str, adapter: str) -> str:
    """Renders the template."""
    environment = SandboxedEnvironment(
        loader=PackageLoader("cards"),
        undefined=StrictUndefined,
        autoescape=False,  # S701: Markdown, not HTML; every value passes a filter of cards.text
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        text.line,
        text.prose,
        text.link,
        text.code,
        text.code_cell,
        text.thousands,
        text.percent,
        text.interval,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}  # Python reads no pairs of surrogates
    environment.filters |= {function.__name__: function for function in filters}
    corpora = {corpus.name: corpus for corpus in [*recipe.corpora.validation, *recipe.corpora.train]}
    tested = {corpus.name: corpus.title or corpus.name for corpus in recipe.corpora.test}
    snippet = environment.get_template(f"snippets/{training.family}.py.jinja").render(
        base=base, adapter=adapter, prompt=recipe.prompt, max_new_tokens=recipe.eval.max_new_tokens
    )
    return environment.get_template("adapter.md.jinja").render(
        recipe=recipe,
        card=recipe.card,
        method=recipe.method,
        prompt=recipe.prompt,
        training=training,
        trainable=training.trainable_parameters.values(),
        evaluation=evaluation,
        results=evaluation.corpora + ([evaluation.pooled] if len(evaluation.corpora) > 1 else []),
        titles=tested | {"pooled": "All, pooled by words"},
        corpora=corpora,
        hyperparameters=recipe.training,
        base=base,
        base_url=f"https://huggingface.co/{base}" if is_repo_id(base) and not Path(base).is_dir() else None,
        snippet_escoita=SNIPPET.format(base=base, adapter=adapter),
        snippet=snippet.strip(),
    )


if __name__ == "__main__":
    from escoita.cli import card, script

    script(card)
