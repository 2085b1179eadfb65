"""The front door: thin commands that call the rooms, each also a script of its room."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from escoita.errors import EscoitaError


STYLE: dict[str, Any] = {
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
app = typer.Typer(
    name="escoita",
    help="From a folder of recordings to a published speech adapter whose card can be trusted.",
    no_args_is_help=True,
    **STYLE,
)
space = typer.Typer(help="The demo: base plus adapter on a page.", no_args_is_help=True)
app.add_typer(space, name="space")

RunOption = Annotated[Path, typer.Option("--run", help="Run directory, runs/<name>.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")]


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file of the adapter.")],
    push: Annotated[bool, typer.Option("--push", help="Evaluate and publish afterwards; checked before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Everything but weights and steps.")] = False,
    overrides: SetOption = None,
) -> None:
    """Trains the adapter of a recipe; a killed run goes on from its last checkpoint."""
    from escoita.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    if push:
        from cards.preflight import preflight

        preflight(loaded)
    from training.sft import train as train_adapter

    train_adapter(loaded, dry_run)
    if push and not dry_run:
        evaluate(run=loaded.run_path)
        card(run=loaded.run_path)
        push_run(run=loaded.run_path)


@app.command("eval")
def evaluate(
    run: Annotated[Path | None, typer.Option("--run", help="Run directory, evaluated on its test corpora.")] = None,
    base: Annotated[str | None, typer.Option(help="Folder or repository of a base model.")] = None,
    adapter: Annotated[str | None, typer.Option(help="Folder or repository of an adapter.")] = None,
    corpus: Annotated[list[Path] | None, typer.Option(help="JSONL manifest, repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    overrides: SetOption = None,
) -> None:
    """Measures an adapter beside its base: predictions, WER and CER with intervals."""
    from eval.run import evaluate_manifests, evaluate_run

    if run is not None and not (base or adapter or corpus or out):
        evaluate_run(run, overrides)
    elif run is None and base and adapter and corpus and out:
        evaluate_manifests(base, adapter, corpus, out)
    else:
        raise typer.BadParameter("give --run, or all of --base, --adapter, --corpus and --out")


@app.command()
def card(run: RunOption) -> None:
    """Writes the model card of a run from its records."""
    from cards.build import write_card

    typer.echo(write_card(run))


@app.command("push")
def push_run(
    run: RunOption,
    repo: Annotated[str | None, typer.Option(help="user/name; the recipe's hub.repo unless given.")] = None,
) -> None:
    """Publishes adapter, processor, card and records in one commit, and reads them back."""
    from cards.push import push

    typer.echo(push(run, repo))


@app.command()
def summary(run: RunOption) -> None:
    """Prints what came of a run: base beside adapter, minutes, where the files are."""
    from escoita.summary import print_summary

    print_summary(run)


@app.command()
def schema() -> None:
    """Prints the JSON Schema of recipes, by which editors complete and check them."""
    import json

    from escoita.recipe import Recipe

    typer.echo(json.dumps(Recipe.model_json_schema(), indent=2))


@space.command("run")
def space_run(
    run: Annotated[Path | None, typer.Option("--run", help="Run directory.")] = None,
    base: Annotated[str | None, typer.Option(help="Folder or repository of a base model.")] = None,
    adapter: Annotated[str | None, typer.Option(help="Folder or repository of an adapter.")] = None,
    port: Annotated[int, typer.Option(help="Where to listen.", min=1, max=65535)] = 7860,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
) -> None:
    """Serves the page on this machine."""
    from escoita.recipe import Space
    from escoita.rundir import RunDirectory
    from space.app import serve

    if run is not None and not (base or adapter):
        recipe, adapter = RunDirectory(run).load_recipe(), RunDirectory(run).trained_adapter()
        serve(recipe.base, adapter, recipe.space, recipe.card.title, port, host, recipe.base_revision, recipe.dtype)
    elif run is None and base and adapter:
        serve(base, adapter, Space(), Path(adapter).name, port, host)
    else:
        raise typer.BadParameter("give --run, or both --base and --adapter")


def main() -> None:
    """Runs the `escoita` command."""
    _run(app)


def script(command: Callable[..., None]) -> None:
    """Runs one command as a script of its own."""
    single = typer.Typer(add_completion=False, **STYLE)
    single.command()(command)
    _run(single)


def _run(typer_app: typer.Typer) -> None:
    """Exit codes: 0 done, 1 refused or failed with a clear line, 2 usage; a traceback is a defect of ours."""
    try:
        typer_app()
    except EscoitaError as error:
        print(f"escoita: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
