"""Define the command that trains, evaluates, documents, publishes and serves a tiny model."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from escoita.cli.done import without_next_commands
from escoita.cli.evaluation import evaluate
from escoita.cli.options import SetOption, repository
from escoita.cli.publish import card, push_run
from escoita.cli.space import space_run
from escoita.cli.training import train
from escoita.resources import resource
from escoita.utils.processes import say


RECIPES = ("quickstart-uzbek", "quickstart-galician")


def demo(
    recipe: Annotated[str, typer.Option(help=f"Quick start: {' or '.join(RECIPES)}.")] = RECIPES[0],
    repo: Annotated[str | None, typer.Option(help="Repository to publish to, user/name.", callback=repository)] = None,
    serve: Annotated[bool, typer.Option(help="Serve the Gradio page at the end.")] = True,
    port: Annotated[int | None, typer.Option(help="Port of the page (default: 7860, or the next free one).")] = None,
    overrides: SetOption = None,
) -> None:
    """Train and evaluate a tiny model, write its card, and serve it, in a few minutes on a CPU."""
    from escoita.recipe.schema import load_recipe

    if recipe not in RECIPES:
        raise typer.BadParameter(f"use one of {', '.join(RECIPES)}", param_hint="--recipe")
    path = unpack(recipe)
    run = Path(load_recipe(path, overrides).run_path)
    with without_next_commands():
        train(recipe=path, overrides=overrides)
        evaluate(run=run)
        card(run=run)
    if repo:
        push_run(run=run, repo=repo, publish_base=True)  # the tiny base of the quick start
    if serve:
        space_run(run=run, port=port)


def unpack(name: str) -> Path:
    """
    Return the recipe of a quick start; outside of a checkout, first copy it with its base and corpora into the
    current folder.

    Args:
        name (`str`): The name of the quick start, one of [`RECIPES`].
    """
    from escoita.recipe.schema import load_recipe

    path = Path("recipes", f"{name}.yaml")
    if path.exists():
        return path
    path.parent.mkdir(exist_ok=True)
    shutil.copyfile(resource("recipes") / path.name, path)
    recipe = load_recipe(path)
    corpora = {
        Path(corpus.path).parent
        for split in ("train", "validation", "test")
        for corpus in getattr(recipe.corpora, split)
    }
    for folder in sorted({Path(recipe.base), *corpora}):
        shutil.copytree(resource(folder.as_posix()), folder, dirs_exist_ok=True)
    say(f"Copied {path} and the files that it names into the current folder")
    return path
