"""The `escoita` command: each subcommand calls one function of the package; see also the scripts of the top level."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from escoita.cli.demo import demo
from escoita.cli.jobs import jobs
from escoita.cli.options import (
    AcceptChangedDataOption,
    AllowOtherBaseOption,
    BaseRevisionOption,
    DryRunOption,
    PushOption,
    RecipeArgument,
    RestartOption,
    RunOption,
    SetOption,
)
from escoita.cli.publish import card, push_run, verify
from escoita.cli.space import space
from escoita.errors import EscoitaError
from escoita.utils.files import NO_SPACE, cannot_write
from escoita.utils.formatting import visible
from escoita.utils.interruption import Interrupted, raise_on_signals
from escoita.utils.processes import is_main_process, leave


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
app.command()(demo)
app.add_typer(space, name="space")
app.add_typer(jobs, name="jobs")


@app.command()
def data(recipe: RecipeArgument, overrides: SetOption = None) -> None:
    """Shows what the corpora of a recipe hold, what stands out, and what training and test share."""
    from escoita.cli.tables import print_data
    from escoita.data.report import write_survey
    from escoita.recipe.schema import load_recipe
    from escoita.run_directory import RunDirectory

    loaded = load_recipe(recipe, overrides)
    run = RunDirectory(loaded.run_path)
    print_data(write_survey(loaded, run))
    typer.echo(f"Record: {run.data}\nPlot:   {run.durations}")


@app.command()
def doctor(recipe: RecipeArgument, overrides: SetOption = None) -> None:
    """Looks for what would make a training fail, before it costs anything; ends with 1 where there is something."""
    from escoita.cards.preflight import preflight, refusals
    from escoita.recipe.schema import load_recipe
    from escoita.training.preflight.checks import PUBLISHING, Finding
    from escoita.training.preflight.report import examine, print_findings

    loaded = load_recipe(recipe, overrides)
    findings = list(examine(loaded))
    refused = list(refusals(loaded))
    findings += [Finding("refusal", PUBLISHING, line, "escoita push would refuse it") for line in refused]
    if loaded.hub.repo and not refused:
        try:
            preflight(loaded)
            findings.append(Finding("ok", "Hub", f"the token may write to {loaded.hub.repo}; the card is accepted"))
        except EscoitaError as error:  # training itself does not need it
            findings.append(Finding("warning", "Hub", str(error), "escoita train --push would refuse to begin"))
    if not print_findings(findings):
        raise typer.Exit(1)


@app.command()
def train(
    recipe: RecipeArgument,
    push: PushOption = False,
    dry_run: DryRunOption = False,
    overrides: SetOption = None,
    restart: RestartOption = False,
    accept_changed_data: AcceptChangedDataOption = False,
) -> None:
    """Trains the adapter of a recipe; an interrupted run resumes from its last checkpoint."""
    from escoita.cards.preflight import check_publishing
    from escoita.recipe.schema import load_recipe
    from escoita.training.sft import train as train_adapter

    loaded = load_recipe(recipe, overrides)
    check_publishing(loaded, push, dry_run)
    train_adapter(loaded, dry_run, restart, accept_changed_data)
    if push and not dry_run:
        evaluate_and_push(loaded.run_path)


def evaluate_and_push(run: Path) -> None:
    """Evaluate a trained run, write its card and publish it, as `escoita eval`, `card` and `push` do."""
    evaluate(run=run)
    card(run=run)
    push_run(run=run)


@app.command("eval")
def evaluate(
    run: Annotated[Path | None, typer.Option("--run", help="Run directory, evaluated on its test corpora.")] = None,
    base: Annotated[str | None, typer.Option(help="Folder or repository of a base model.")] = None,
    adapter: Annotated[
        str | None, typer.Option(help="Folder or repository of an adapter, user/name or user/name@revision.")
    ] = None,
    corpus: Annotated[list[Path] | None, typer.Option(help="Manifest, repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.", file_okay=False)] = None,
    language: Annotated[str | None, typer.Option(help="ISO code of the clips, where no adapter tells it.")] = None,
    baseline: Annotated[
        list[str] | None, typer.Option(help="Whisper or CTC model to stand beside: folder or repository, repeatable.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Earlier run directory, or user/name@revision, to compare with.")
    ] = None,
    normalizer: Annotated[
        str | None,
        typer.Option(help="Text normalizer used for scoring (default: the recipe's, else that of the language)."),
    ] = None,
    shard: Annotated[str | None, typer.Option(help="3/64: hear the third of 64 parts alone, score nothing.")] = None,
    merge_shards: Annotated[bool, typer.Option("--merge", help="Hear nothing; score what all parts heard.")] = False,
    overrides: SetOption = None,
    base_revision: BaseRevisionOption = None,
    allow_other_base: AllowOtherBaseOption = False,
) -> None:
    """Measures an adapter beside its base: predictions, WER and CER with intervals, a report."""
    from escoita.cli.tables import print_evaluation
    from escoita.evaluation.evaluate import evaluate_manifests, evaluate_run, hear_shard
    from escoita.evaluation.predict import hear_all
    from escoita.evaluation.request import asked_of_manifests, asked_of_run
    from escoita.evaluation.shards import Shard, merge_all
    from escoita.run_directory import RunDirectory

    if shard and merge_shards:
        raise typer.BadParameter("--shard hears a part, --merge puts all parts together: give one of them")
    part, hear = Shard.parse(shard) if shard else None, merge_all if merge_shards else hear_all
    if run is not None and not (base or adapter or corpus or out or language):
        options = {"baselines": baseline, "against": against, "normalizer": normalizer}
        changes = [*(overrides or []), *(f"eval.{key}={json.dumps(value)}" for key, value in options.items() if value)]
        if part:
            folder = hear_shard(asked_of_run(run, changes, base_revision, allow_other_base), part)
            if is_main_process():
                typer.echo(folder)
            return
        evaluate_run(run, changes, hear, base_revision, allow_other_base)
        if is_main_process():
            print_evaluation(RunDirectory(run).eval, table=False)  # escoita summary prints it, with what is of a run
    elif run is None and base and corpus and out and not (against or overrides):
        if part:
            asked = asked_of_manifests(
                base, adapter, corpus, out, language, baseline, normalizer, None, base_revision, allow_other_base
            )
            folder = hear_shard(asked, part)
            if is_main_process():
                typer.echo(folder)
            return
        evaluate_manifests(
            base,
            adapter,
            corpus,
            out,
            language,
            baseline,
            normalizer,
            hear=hear,
            base_revision=base_revision,
            allow_other_base=allow_other_base,
        )
        if is_main_process():
            print_evaluation(out)
    elif run is None and (against or overrides):
        raise typer.BadParameter("--against and --set go with --run")
    else:
        raise typer.BadParameter("give --run, or --base, --corpus and --out, with --adapter or --language")


@app.command()
def gate(
    new: Annotated[Path, typer.Argument(help="results.json that is judged, or its run directory.")],
    old: Annotated[Path, typer.Argument(help="results.json that it is compared with, or its run directory.")],
    max_wer: Annotated[float | None, typer.Option(min=0, help="Limit of the WER on every corpus, a fraction.")] = None,
) -> None:
    """
    Exit with status 1 if WER is significantly worse, above --max-wer, or most hypotheses are empty or loop.

    Prints a table in Markdown.
    """
    from escoita.evaluation.gate import gate as compare_evaluations

    found = compare_evaluations(new, old, max_wer)
    typer.echo(found.markdown())
    if not found.passed:
        raise typer.Exit(1)


@app.command()
def report(run: RunOption) -> None:
    """Writes the page of an evaluation anew, from its records and predictions."""
    from escoita.evaluation.report.render import report_run

    typer.echo(report_run(run))


app.command()(card)
app.command("push")(push_run)
app.command()(verify)


@app.command()
def merge(
    run: RunOption,
    out: Annotated[Path, typer.Option(help="Folder that is made.", file_okay=False)],
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Of the weights; the recipe's unless given."),
    ] = None,
    base_revision: BaseRevisionOption = None,
    allow_other_base: AllowOtherBaseOption = False,
) -> None:
    """Writes base and adapter of a run as one full model."""
    from escoita.training.merge import merge_run

    typer.echo(merge_run(run, out, dtype, base_revision, allow_other_base))


@app.command()
def summary(
    run: RunOption,
    markdown: Annotated[bool, typer.Option("--markdown", help="For the summary of a CI job.")] = False,
) -> None:
    """Prints what came of a run: base beside adapter, minutes, where the files are."""
    from escoita.cli.tables import markdown_summary, print_summary

    if markdown:
        typer.echo(markdown_summary(run))
    else:
        print_summary(run)


@app.command()
def schema() -> None:
    """Prints the JSON Schema of recipes, by which editors complete and check them."""
    from escoita.recipe.schema import Recipe

    typer.echo(json.dumps(Recipe.model_json_schema(), indent=2))


def main() -> None:
    """Runs the `escoita` command."""
    _run(app)


def script(command: Callable[..., None]) -> None:
    """Runs one command as a script of its own."""
    single = typer.Typer(add_completion=False, **STYLE)
    single.command()(command)
    _run(single)


def _run(typer_app: typer.Typer) -> None:
    """
    Exit codes: 0 done, 1 refused or failed with a clear line, 2 usage, 130 and 143 stopped by SIGINT and SIGTERM; a
    traceback is a defect of ours.
    """
    # PEFT imports bitsandbytes where it is there, which misses on some CPUs a package that none of us needs.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        with raise_on_signals():
            typer_app()
    except SystemExit as ended:  # as every command ends, also what went well
        if not ended.code:
            leave()
        raise
    except EscoitaError as error:
        _print_error(error)
        sys.exit(1)
    except OSError as error:
        # Of a library that writes in places of its own, such as the cache of the Hub. On a full disk `tempfile` finds
        # no folder that takes a file, which it reports as one that does not exist.
        if error.errno not in NO_SPACE and "No usable temporary directory" not in str(error):
            raise
        _print_error(cannot_write(Path(error.filename or "."), error.strerror or str(error)))
        sys.exit(1)
    except Interrupted as stopped:
        _print_error(stopped)
        sys.exit(stopped.status)


def _print_error(error: BaseException) -> None:
    if is_main_process():
        said = "\n".join(map(visible, str(error).split("\n")))  # it may quote what a stranger wrote
        print(f"escoita: {said}", file=sys.stderr)
