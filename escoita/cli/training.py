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
    JsonLogsOption,
    PublishBaseOption,
    PushOption,
    RecipeArgument,
    ReportOption,
    RestartOption,
    ResumeOption,
    RunOption,
    SetOption,
)
from escoita.cli.publish import card, push_run
from escoita.errors import CorpusError, EscoitaError
from escoita.utils.processes import is_main_process, stage, without_compiler


def data(
    recipe: RecipeArgument,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Page of all clips to write: play, filter by outlier, sort by speaking rate."),
    ] = None,
    embed_audio: Annotated[
        bool, typer.Option("--embed-audio", help="Put the recordings into the page of --html, up to 100 MiB.")
    ] = False,
    overrides: SetOption = None,
) -> None:
    """
    Print corpus statistics, outliers and train/test overlap.

    Exits with status 1 if training would refuse a corpus.
    """
    from escoita.recipe.files import CARD_AND_PAGE, CORPORA, refuse_missing_files
    from escoita.recipe.schema import load_recipe

    loaded = load_recipe(recipe, overrides)
    refuse_missing_files(loaded, recipe, CORPORA, later=("base", *CARD_AND_PAGE))

    from escoita.cli.data_view import print_data
    from escoita.data.report import refusals, write_survey
    from escoita.run_directory import RunDirectory

    run = RunDirectory(loaded.run_path)
    record = write_survey(loaded, run)
    print_data(record)
    typer.echo(f"Record: {run.data}\nPlot:   {run.durations}")
    if html is not None:
        from escoita.cli.data_view import KINDS
        from escoita.data.page import write_page
        from escoita.data.report import SPLITS
        from escoita.data.statistics import measure

        corpora = [
            measure(corpus, split, loaded.language)[0] for split in SPLITS for corpus in getattr(loaded.corpora, split)
        ]
        count = write_page(html, loaded.name, corpora, KINDS, embed_audio)
        typer.echo(f"Page:   {html} ({count:,} clips)")
    if refused := refusals(record, loaded):
        raise CorpusError("training would refuse these corpora:\n" + "\n".join(refused), path=recipe)
    done(next_commands=[("doctor", recipe), ("train", recipe)])


def doctor(recipe: RecipeArgument, overrides: SetOption = None, report: ReportOption = False) -> None:
    """Check a recipe before training. The command exits with status 1 if training or publishing would fail."""
    from escoita.recipe.files import CARD_AND_PAGE, CORPORA, refuse_missing_files
    from escoita.recipe.schema import load_recipe

    loaded = load_recipe(recipe, overrides)
    refuse_missing_files(loaded, recipe, ("base", *CORPORA, *CARD_AND_PAGE))

    with stage("Importing libraries"), without_compiler():
        from escoita.cards.preflight import preflight, refusals
        from escoita.training.preflight.checks import PUBLISHING, Finding
        from escoita.training.preflight.report import examine, print_findings
        from escoita.training.preflight.shared_report import family_info, shared_report

    findings = list(examine(loaded))
    refused = list(refusals(loaded))
    findings += [Finding("refusal", PUBLISHING, line, "correct it, or escoita push fails") for line in refused]
    if loaded.hub.repo and not refused:
        try:
            preflight(loaded)
            findings.append(Finding("ok", "Hub", f"the token may write to {loaded.hub.repo}; the card is accepted"))
        except EscoitaError as error:  # training does not need the Hub
            findings.append(Finding("warning", "Hub", str(error), "correct it, or escoita train --push fails"))
    if report:
        typer.echo(json.dumps(shared_report(loaded, family_info(loaded), findings), indent=2))
        raise typer.Exit(any(each.mark == "refusal" for each in findings))
    if not print_findings(findings):
        raise typer.Exit(1)
    done(next_commands=[("train", recipe)])


def train(
    recipe: RecipeArgument,
    push: PushOption = False,
    dry_run: DryRunOption = False,
    overrides: SetOption = None,
    resume: ResumeOption = False,
    restart: RestartOption = False,
    accept_changed_data: AcceptChangedDataOption = False,
    json_logs: JsonLogsOption = False,
    publish_base: PublishBaseOption = False,
) -> None:
    """Train the adapter of a recipe. An interrupted run resumes from its last checkpoint."""
    from escoita.recipe.files import files_of_training, refuse_missing_files
    from escoita.recipe.schema import load_recipe

    refuse_both(resume, restart)
    loaded = load_recipe(recipe, overrides)
    refuse_missing_files(loaded, recipe, *files_of_training(loaded, push))

    from escoita.cards.preflight import check_publishing
    from escoita.run_directory import RunDirectory
    from escoita.training.sft import train as train_adapter

    check_publishing(loaded, push, dry_run, publish_base)
    train_adapter(loaded, dry_run, restart, accept_changed_data, json_logs, resume)
    if push and not dry_run:
        evaluate_and_push(loaded.run_path, publish_base)
    elif dry_run:
        done(next_commands=[("train", recipe)])
    elif is_main_process():
        made = RunDirectory(loaded.run_path)
        done([f"Adapter: {made.adapter}"], [("eval", "--run", made.path)])


def refuse_both(resume: bool, restart: bool) -> None:
    """
    Refuse to resume a run and to train it from the first step at once.

    Raises:
        typer.BadParameter: Both options are given.
    """
    if resume and restart:
        raise typer.BadParameter("--resume and --restart exclude each other")


def evaluate_and_push(run: Path, publish_base: bool = False) -> None:
    """Evaluate a trained run, write its card and publish it, as `escoita eval`, `card` and `push` do."""
    with without_next_commands():
        evaluate(run=run)
        card(run=run)
    push_run(run=run, publish_base=publish_base)


def merge(
    run: RunOption,
    out: Annotated[
        Path, typer.Option(help="Folder for the merged model; the folder must not exist.", file_okay=False)
    ],
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Data type of the weights (default: dtype of the recipe)."),
    ] = None,
    base_revision: BaseRevisionOption = None,
    allow_other_base: AllowOtherBaseOption = False,
) -> None:
    """Merge the base and the adapter of a run into one model."""
    from escoita.training.merge import merge_run

    typer.echo(merge_run(run, out, dtype, base_revision, allow_other_base))
    done(next_commands=[("transcribe", "FILE", "--model", out), ("serve", out)])


def schema() -> None:
    """Print the JSON Schema of recipes, for editors."""
    from escoita.recipe.schema import Recipe

    typer.echo(json.dumps(Recipe.model_json_schema(), indent=2))
