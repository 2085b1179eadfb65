"""The commands that evaluate adapters, compare evaluations and show them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from escoita.cli.options import AllowOtherBaseOption, BaseOption, BaseRevisionOption, RunOption, SetOption
from escoita.utils.processes import is_main_process


def evaluate(
    run: Annotated[Path | None, typer.Option("--run", help="Run directory, evaluated on its test corpora.")] = None,
    base: BaseOption = None,
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
    from escoita.evaluation.evaluate import evaluate as evaluate_systems
    from escoita.evaluation.evaluate import evaluate_run, hear_shard
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
        if not part:
            evaluate_run(run, changes, hear, base_revision, allow_other_base)
            if is_main_process():
                print_evaluation(
                    RunDirectory(run).eval, table=False
                )  # escoita summary prints it, with what is of a run
            return
        asked = asked_of_run(run, changes, base_revision, allow_other_base)
    elif run is None and base and corpus and out and not (against or overrides):
        asked = asked_of_manifests(
            base, adapter, corpus, out, language, baseline, normalizer, None, base_revision, allow_other_base
        )
        if not part:
            evaluate_systems(*asked, hear=hear)
            if is_main_process():
                print_evaluation(out)
            return
    elif run is None and (against or overrides):
        raise typer.BadParameter("--against and --set go with --run")
    else:
        raise typer.BadParameter("give --run, or --base, --corpus and --out, with --adapter or --language")
    folder = hear_shard(asked, part)
    if is_main_process():
        typer.echo(folder)


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


def report(run: RunOption) -> None:
    """Writes the page of an evaluation anew, from its records and predictions."""
    from escoita.evaluation.report.render import report_run

    typer.echo(report_run(run))


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
