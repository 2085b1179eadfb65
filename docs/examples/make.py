"""
Write the two example cards from the records of the quick starts and the texts of the recipes for real bases.

    make demo SERVE=0
    make demo RECIPE=quickstart-galician SERVE=0
    python docs/examples/make.py
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from escoita.cards.publication import publication
from escoita.cards.published_base import published_base
from escoita.recipe.schema import load_recipe
from escoita.run_directory import RunDirectory


HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLES = {"gemma4-uzbek": "quickstart-uzbek", "phi4-galician": "quickstart-galician"}


def make(runs: Annotated[Path, typer.Argument(help="Folder of the run directories.")] = Path("runs")) -> None:
    """Write each card with its plots in their published form."""
    for name, run_name in EXAMPLES.items():
        run = RunDirectory(runs / run_name)
        recipe, real = run.load_recipe(), load_recipe(ROOT / "recipes" / f"{name}.yaml")
        card = real.card.model_copy(update={"template": str(HERE / "example.md.jinja")})
        example = recipe.model_copy(update={"name": name, "card": card})
        repo = f"user/{name}"
        files = publication(run, example, repo, published_base(example, repo))
        shutil.rmtree(HERE / name, ignore_errors=True)
        for path, content in files.items():
            if path == "README.md" or path.endswith(".svg"):
                target = HERE / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        typer.echo(HERE / name / "README.md")


if __name__ == "__main__":
    typer.run(make)
