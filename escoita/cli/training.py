"""Define the commands that check corpora and recipes, train, and merge."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from escoita.cli.done import done, without_next_commands
from escoita.cli.evaluation import evaluate
from escoita.cli.options import (
    AcceptChangedDataOption,
    AllowOtherBaseOption,
    BaseRevisionOption,
    DryRunOption,
    PublishBaseOption,
    PushOption,
    RecipeArgument,
    RestartOption,
    RunOption,
    SetOption,
)
from escoita.cli.publish import card, push_run
from escoita.errors import EscoitaError
from escoita.utils.processes import is_main_process


def data(recipe: RecipeArgument, overrides: SetOption = None) -> None:
    """Print statistics of the corpora of a recipe, their outliers, and overlaps of training and test data."""
    from escoita.cli.data_view import print_data
    from escoita.data.report import write_survey
    from escoita.recipe.schema import load_recipe
    from escoita.run_directory import RunDirectory

    loaded = load_recipe(recipe, overrides)
    run = RunDirectory(loaded.run_path)
    print_data(write_survey(loaded, run))
    typer.echo(f"Record: {run.data}\nPlot:   {run.durations}")
    done(next_commands=[("doctor", recipe), ("train", recipe)])


def doctor(recipe: RecipeArgument, overrides: SetOption = None) -> None:
    """Check a recipe before training; exit with status 1 if training or publishing would fail."""
    from escoita.cards.preflight import preflight, refusals
    from escoita.recipe.schema import load_recipe
    from escoita.training.preflight.checks import PUBLISHING, Finding
    from escoita.training.preflight.report import examine, print_findings

    loaded = load_recipe(recipe, overrides)
    findings = list(examine(loaded))
    refused = list(refusals(loaded))
    findings += [Finding("refusal", PUBLISHING, line, "correct it, or escoita push fails") for line in refused]
    if loaded.hub.repo and not refused:
        try:
            preflight(loaded)
            findings.append(Finding("ok", "Hub", f"the token may write to {loaded.hub.repo}; the card is accepted"))
        except EscoitaError as error:  # training does not need the Hub
            findings.append(Finding("warning", "Hub", str(error), "correct it, or escoita train --push fails"))
    if not print_findings(findings):
        raise typer.Exit(1)
    done(next_commands=[("train", recipe)])


def train(
    recipe: RecipeArgument,
    push: PushOption = False,
    dry_run: DryRunOption = False,
    overrides: SetOption = None,
    restart: RestartOption = False,
    accept_changed_data: AcceptChangedDataOption = False,
    publish_base: PublishBaseOption = False,
) -> None:
    """Train the adapter of a recipe; an interrupted run resumes from its last checkpoint."""
    from escoita.cards.preflight import check_publishing
    from escoita.recipe.schema import load_recipe
    from escoita.run_directory import RunDirectory
    from escoita.training.sft import train as train_adapter

    loaded = load_recipe(recipe, overrides)
    check_publishing(loaded, push, dry_run, publish_base)
    train_adapter(loaded, dry_run, restart, accept_changed_data)
    if push and not dry_run:
        evaluate_and_push(loaded.run_path, publish_base)
    elif dry_run:
        done(next_commands=[("train", recipe)])
    elif is_main_process():
        made = RunDirectory(loaded.run_path)
        done([f"Adapter: {made.adapter}"], [("eval", "--run", made.path)])


def evaluate_and_push(run: Path, publish_base: bool = False) -> None:
    """Evaluate a trained run, write its card and publish it, as `escoita eval`, `card` and `push` do."""
    with without_next_commands():
        evaluate(run=run)
        card(run=run)
    push_run(run=run, publish_base=publish_base)


def merge(
    run: RunOption,
    out: Annotated[Path, typer.Option(help="Folder of the merged model; it must not exist.", file_okay=False)],
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Data type of the weights (default: that of the recipe)."),
    ] = None,
    base_revision: BaseRevisionOption = None,
    allow_other_base: AllowOtherBaseOption = False,
) -> None:
    """Merge base and adapter of a run into one model."""
    from escoita.training.merge import merge_run

    typer.echo(merge_run(run, out, dtype, base_revision, allow_other_base))
    done(next_commands=[("transcribe", "FILE", "--model", out)])


def schema() -> None:
    """Print the JSON Schema of recipes, for editors."""
    from escoita.recipe.schema import Recipe

    typer.echo(json.dumps(Recipe.model_json_schema(), indent=2))
