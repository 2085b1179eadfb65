"""
Print names from a recipe as lines for `$GITHUB_OUTPUT`: its name, its run directory, and its repository on the Hub,
which is empty if there is none.

    python .github/scripts/names.py --repo "$REPO" -- recipes/quickstart-uzbek.yaml >> "$GITHUB_OUTPUT"
"""

from pathlib import Path
from typing import Annotated

import typer

from escoita.cli.main import script
from escoita.errors import EscoitaError
from escoita.hub.files import is_repo_id
from escoita.recipe.schema import load_recipe


def names(
    recipe: Annotated[Path, typer.Argument(help="YAML file of the adapter.")],
    repo: Annotated[str, typer.Option(help="Repository, user/name (default: hub.repo of the recipe).")] = "",
) -> None:
    """Print name, run directory and repository of a recipe."""
    loaded = load_recipe(recipe)
    published = repo or loaded.hub.repo or ""
    if published and not is_repo_id(published):
        raise EscoitaError(f"{' '.join(published.split())}: not the name of a repository; write user/name")
    values = {"name": loaded.name, "run": loaded.run_path.as_posix(), "repo": published}
    typer.echo("\n".join(output(key, value) for key, value in values.items()))


def output(key: str, value: str) -> str:
    """
    Return a line of `$GITHUB_OUTPUT`.

    Raises:
        EscoitaError: The value contains a line break, after which GitHub would read another output.
    """
    if len(value.splitlines()) > 1 or value != value.strip():
        raise EscoitaError(f"{key} of the recipe, {value!r}: remove line breaks and spaces at its ends")
    return f"{key}={value}"


if __name__ == "__main__":
    script(names)
