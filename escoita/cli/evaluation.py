"""Define the commands that evaluate adapters, compare evaluations and show them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from escoita.cli.done import done
from escoita.cli.options import (
    AdapterOption,
    AgainstOption,
    AllowOtherBaseOption,
    BaselineOption,
    BaseOption,
    BaseRevisionOption,
    ConcurrencyOption,
    CorpusOption,
    EndpointOption,
    EvaluatedRunOption,
    LanguageOption,
    MergeOption,
    ModelOption,
    NormalizerOption,
    NumBeamsOption,
    OutOption,
    PromptOption,
    RescoreOption,
    RunOption,
    RunSetOption,
    ShardOption,
    SystemOption,
    YesOption,
)
from escoita.utils.processes import is_main_process, stage


def evaluate(
    run: EvaluatedRunOption = None,
    base: BaseOption = None,
    adapter: AdapterOption = None,
    corpus: CorpusOption = None,
    out: OutOption = None,
    language: LanguageOption = None,
    baseline: BaselineOption = None,
    against: AgainstOption = None,
    normalizer: NormalizerOption = None,
    shard: ShardOption = None,
    merge_shards: MergeOption = False,
    overrides: RunSetOption = None,
    base_revision: BaseRevisionOption = None,
    allow_other_base: AllowOtherBaseOption = False,
    prompt: PromptOption = None,
    system: SystemOption = None,
    endpoint: EndpointOption = None,
    model: ModelOption = None,
    concurrency: ConcurrencyOption = 4,
    yes: YesOption = False,
    num_beams: NumBeamsOption = None,
    rescore: RescoreOption = False,
) -> None:
    """Evaluate an adapter and its base. Write predictions, error rates with confidence intervals, and a report."""
    from escoita.recipe.files import refuse_missing_files, refuse_missing_manifests
    from escoita.run_directory import RunDirectory

    refuse_missing_manifests(corpus or [])
    if endpoint is not None or model is not None:
        from escoita.cli.endpoint import evaluate_served_model

        others = base, adapter, against, shard, merge_shards, base_revision, allow_other_base, prompt, system
        refuse_with_endpoint(*others, num_beams, rescore)
        evaluate_served_model(
            endpoint, model, run, corpus, out, language, normalizer, baseline, overrides, concurrency, yes
        )
        return
    if rescore:
        unused = base, adapter, corpus, language, baseline, against, shard, merge_shards, base_revision, prompt, system
        rescore_predictions(run, out, normalizer, overrides, *unused, allow_other_base, num_beams)
        return
    check_options(run, base, adapter, corpus, out, language, against, shard, merge_shards, overrides)
    refuse_prompt_without_adapter(prompt, system, adapter)
    if run:
        recipe = RunDirectory(run).load_recipe(overrides)
        refuse_missing_files(recipe, RunDirectory(run).recipe, ["base", "corpora.test", "eval.retention"])

    with stage("Importing libraries"):
        from escoita.cli.tables import print_evaluation
        from escoita.evaluation.evaluate import evaluate_manifests, evaluate_run, transcribe_shard
        from escoita.evaluation.predict import transcribe_all
        from escoita.evaluation.request import request_for_manifests, request_for_run
        from escoita.evaluation.shards import Shard, merge_all
        from escoita.inference.model_source import adapter_settings

    part, predict = Shard.parse(shard) if shard else None, merge_all if merge_shards else transcribe_all
    changes = evaluation_overrides(overrides, baseline, against, normalizer, num_beams)
    revision = base_revision, allow_other_base
    generation_settings = adapter_settings(adapter, language, prompt, system) if adapter else None
    manifests = base or "", adapter, corpus or [], out or Path(), language, baseline, normalizer, generation_settings
    if part:
        folder = transcribe_shard(
            request_for_run(run, changes, *revision)
            if run
            else request_for_manifests(*manifests, *revision, num_beams or 1),
            part,
        )
        if is_main_process():
            typer.echo(folder)
    elif run:
        evaluate_run(run, changes, predict, *revision)
        if is_main_process():
            print_evaluation(RunDirectory(run).eval)
            repo = RunDirectory(run).load_recipe().hub.repo
            target = () if repo else ("--repo", "user/name")
            done(next_commands=[("card", "--run", run), ("push", "--run", run, *target)])
    else:
        evaluate_manifests(*manifests, predict, *revision, num_beams or 1)
        if is_main_process():
            print_evaluation(out or Path())


def refuse_with_endpoint(*others: object) -> None:
    """
    Refuse the options that an evaluation of a served model does not have.

    Raises:
        typer.BadParameter: One of them is given.
    """
    if any(others):
        raise typer.BadParameter(
            "--endpoint can be combined only with --run or --corpus, --out, --language, --normalizer, --baseline"
            " and --set"
        )


def rescore_predictions(
    run: Path | None, out: Path | None, normalizer: str | None, overrides: list[str] | None, *others: object
) -> None:
    """
    Score stored predictions again, and print the table of results.

    Raises:
        typer.BadParameter: Options that do not go together are given.
        EscoitaError: As in [`~escoita.evaluation.rescore.rescore_run`].
    """
    if any(others) or (run is None) == (out is None) or (overrides and run is None):
        raise typer.BadParameter(
            "--rescore scores the predictions of a run (--run DIR, with --normalizer and --set) or of a folder that"
            " `escoita eval --out` wrote (--out DIR, with --normalizer), and takes no other option"
        )
    from escoita.cli.tables import print_evaluation
    from escoita.evaluation.rescore import rescore_folder, rescore_run
    from escoita.run_directory import RunDirectory

    if run is not None:
        rescore_run(run, evaluation_overrides(overrides, None, None, normalizer))
        print_evaluation(RunDirectory(run).eval)
    elif out is not None:
        rescore_folder(out, normalizer)
        print_evaluation(out)


def refuse_prompt_without_adapter(prompt: str | None, system: str | None, adapter: str | None) -> None:
    """
    Refuse a prompt for an evaluation without `--adapter`.

    Raises:
        typer.BadParameter: A prompt is given, and no adapter.
    """
    if (prompt is not None or system is not None) and not adapter:
        raise typer.BadParameter("--prompt and --system go with --adapter")


def check_options(
    run: Path | None,
    base: str | None,
    adapter: str | None,
    corpus: list[Path] | None,
    out: Path | None,
    language: str | None,
    against: str | None,
    shard: str | None,
    merge_shards: bool,
    overrides: list[str] | None,
) -> None:
    """
    Check that the options of an evaluation are either those of a run, or those of manifests.

    Raises:
        typer.BadParameter: The options are not compatible.
    """
    if shard and merge_shards:
        raise typer.BadParameter("--shard and --merge cannot be used together")
    of_run = run is not None and not (base or adapter or corpus or out or language)
    of_manifests = run is None and bool(base and corpus and out) and not (against or overrides)
    if run is None and not of_manifests and (against or overrides):
        raise typer.BadParameter("--against and --set require --run")
    if not of_run and not of_manifests:
        raise typer.BadParameter("give --run, or --base, --corpus and --out, with --adapter or --language")


def evaluation_overrides(
    overrides: list[str] | None,
    baseline: list[str] | None,
    against: str | None,
    normalizer: str | None,
    num_beams: int | None = None,
) -> list[str]:
    """Return the overrides of a recipe that the options of an evaluation define, as `section.key=value`."""
    options = {"baselines": baseline, "against": against, "normalizer": normalizer, "num_beams": num_beams}
    return [*(overrides or []), *(f"eval.{key}={json.dumps(value)}" for key, value in options.items() if value)]


def gate(
    new: Annotated[Path, typer.Argument(help="Run directory or results.json of the new evaluation.")],
    old: Annotated[Path, typer.Argument(help="Run directory or results.json of the old evaluation.")],
    max_wer: Annotated[
        float | None,
        typer.Option(
            min=0, help="Maximum WER on each corpus, as a fraction; for languages without spaces, the maximum CER."
        ),
    ] = None,
    max_forgetting: Annotated[
        float | None,
        typer.Option(
            min=0, help="Maximum increase of the rate from base to adapter on other languages, as a fraction."
        ),
    ] = None,
) -> None:
    """
    Check whether a result is good enough.

    The command exits with status 1 if the primary rate is significantly worse or above a limit, or if most hypotheses
    are faulty. Faulty hypotheses are empty or contain repetition loops. The command prints a table in Markdown.
    """
    from escoita.evaluation.gate import gate as compare_evaluations

    found = compare_evaluations(new, old, max_wer, max_forgetting)
    typer.echo(found.markdown())
    if not found.passed:
        raise typer.Exit(1)


def export(
    folder: Annotated[Path, typer.Argument(help="Run directory, or folder of an evaluation.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the manifests.", file_okay=False)],
) -> None:
    """Export predictions for the Open ASR Leaderboard."""
    from escoita.evaluation.leaderboard import export_predictions

    for path in export_predictions(folder, out):
        typer.echo(path)


def report(run: RunOption) -> None:
    """Write the HTML report of an evaluation again. The command reads records and predictions only."""
    from escoita.evaluation.report.render import report_run

    typer.echo(report_run(run))


def summary(
    run: RunOption,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for the summary of a CI job.")] = False,
) -> None:
    """Print the results of a run. They are error rates, training time, and the paths of files."""
    from escoita.cli.tables import markdown_summary, print_summary

    if markdown:
        typer.echo(markdown_summary(run))
    else:
        print_summary(run)
