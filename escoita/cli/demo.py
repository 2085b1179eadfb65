"""Define the command that trains, evaluates, documents, publishes and serves a tiny model."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from escoita.cli.done import done, without_next_commands
from escoita.cli.evaluation import evaluate
from escoita.cli.options import SetOption, repository
from escoita.cli.publish import card, push_run
from escoita.cli.space import space_run
from escoita.cli.training import train
from escoita.resources import resource
from escoita.utils.processes import say


# family: recipe
RECIPES = {
    "gemma4": "quickstart-uzbek",
    "phi4": "quickstart-galician",
    "whisper": "quickstart-whisper",
    "ctc": "quickstart-ctc",
}


def demo(
    family: Annotated[
        str | None, typer.Argument(help=f"Family of the tiny model: {', '.join(RECIPES)}; default: the first.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help=f"The same by recipe: {', '.join(RECIPES.values())}.")] = None,
    repo: Annotated[str | None, typer.Option(help="Repository to publish to, user/name.", callback=repository)] = None,
    serve: Annotated[bool, typer.Option(help="Serve the Gradio page at the end.")] = True,
    port: Annotated[int | None, typer.Option(help="Port of the page (default: 7860, or the next free one).")] = None,
    overrides: SetOption = None,
) -> None:
    """Train, evaluate and serve a tiny model on a CPU. It takes a few minutes, and writes the model card too."""
    from huggingface_hub import HfApi

    from escoita.hub.auth import require_write
    from escoita.recipe.schema import load_recipe

    name = chosen(family, recipe)
    if repo:  # before minutes of training
        require_write(HfApi(), repo)
    path = unpack(name)
    run = Path(load_recipe(path, overrides).run_path)
    with without_next_commands():
        train(recipe=path, overrides=overrides)
        evaluate(run=run)
        card(run=run)
    if repo:
        push_run(run=run, repo=repo, publish_base=True)  # the tiny base of the quick start
    if serve:
        space_run(run=run, port=port)
    else:
        done([], [("space", "run", "--run", run)])


def chosen(family: str | None, recipe: str | None) -> str:
    """
    Return the name of the recipe that the arguments select, by default that of Gemma 4.

    Raises:
        typer.BadParameter: An argument has an unknown value, or the two select different recipes.
    """
    if family is not None and family not in RECIPES:
        raise typer.BadParameter(f"use one of {', '.join(RECIPES)}", param_hint="FAMILY")
    if recipe is not None and recipe not in RECIPES.values():
        raise typer.BadParameter(f"use one of {', '.join(RECIPES.values())}", param_hint="--recipe")
    if family and recipe and RECIPES[family] != recipe:
        raise typer.BadParameter(f"leave it out; {family} is {RECIPES[family]}", param_hint="--recipe")
    return recipe or RECIPES[family or "gemma4"]


def unpack(name: str) -> Path:
    """
    Return the recipe of a quick start; outside of a checkout, first copy it with its base and corpora into the
    current folder.

    Args:
        name (`str`): The name of the quick start, a value of [`RECIPES`].
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
