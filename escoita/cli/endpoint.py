"""Evaluate a model behind an endpoint, for `escoita eval`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from escoita.errors import EscoitaError


if TYPE_CHECKING:
    from escoita.evaluation.endpoint_evaluation import Plan


def evaluate_served_model(
    url: str | None,
    model: str | None,
    run: Path | None,
    corpus: list[Path] | None,
    out: Path | None,
    language: str | None,
    normalizer: str | None,
    baseline: list[str] | None,
    overrides: list[str] | None,
    concurrency: int,
    yes: bool,
) -> None:
    """
    Evaluate a model behind an endpoint, on manifests or on the test corpora of a run, and print the results.

    Raises:
        typer.BadParameter: Options are missing or contradict each other.
    """
    from escoita.cli.tables import print_evaluation
    from escoita.evaluation.endpoint import Endpoint
    from escoita.evaluation.endpoint_evaluation import evaluate_endpoint, request_for_endpoint
    from escoita.run_directory import RunDirectory

    if not url or not model or out is None or (run is None) == (not corpus):
        raise typer.BadParameter("give --endpoint, --model, --out, and --run or --corpus with --language")
    if overrides and run is None:
        raise typer.BadParameter("--set goes with --run")
    if run is not None and out.resolve() == RunDirectory(run).eval.resolve():
        raise typer.BadParameter("the folder contains the results of the adapter; use another one", param_hint="--out")
    request = request_for_endpoint(model, out, corpus or [], language, normalizer, run, overrides, baseline or ())
    with Endpoint(url, model) as endpoint:
        evaluate_endpoint(endpoint, request, lambda plan: confirm(plan, yes), concurrency)
    print_evaluation(out)


def confirm(plan: "Plan", yes: bool = False) -> None:
    """
    Print what is sent, and ask for confirmation unless the server is on this machine.

    Args:
        plan ([`~escoita.evaluation.endpoint_evaluation.Plan`]): The recordings and the server, from the evaluation.
        yes (`bool`, *optional*, defaults to `False`): Whether the user already agreed.

    Raises:
        EscoitaError: The user did not agree, or cannot be asked.
    """
    typer.echo(str(plan) if plan.local else f"These recordings leave this machine: {plan}.", err=True)
    if plan.local or yes:
        return
    if not sys.stdin.isatty():
        raise EscoitaError("sending recordings needs confirmation, but there is no terminal", hint="agree with --yes")
    if not typer.confirm("Send them?", err=True):
        raise EscoitaError("not confirmed; nothing was sent")
