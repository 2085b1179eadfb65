"""The commands that train and evaluate on hardware of the Hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escoita.cli.options import RecipeArgument, SetOption


if TYPE_CHECKING:
    from escoita.jobs.plan import Work

jobs = typer.Typer(help="Train and evaluate on hardware of the Hub.", no_args_is_help=True)

Flavor = Annotated[str, typer.Option(help="Hardware, such as a100-large.")]
Source = Annotated[
    str, typer.Option(help="What pip installs as escoita in the job, such as git+https://HOST/REPOSITORY@COMMIT.")
]
Data = Annotated[str | None, typer.Option(help="user/name: dataset repository with the corpora under their paths.")]
Timeout = Annotated[str, typer.Option(help="The job ends then: 90m, 6h, 2d.")]
Namespace = Annotated[str | None, typer.Option(help="Organization that pays; the token's user unless given.")]
Price = Annotated[float | None, typer.Option(min=0, help="US dollars an hour, where the Hub does not tell.")]
Hours = Annotated[float | None, typer.Option(min=0, help="What you expect, for the estimate of cost.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run and what it may cost; send nothing.")]
Follow = Annotated[bool, typer.Option("--follow/--detach", help="Print the log, and end as the job ends.")]


def jobs_train(
    recipe: RecipeArgument,
    flavor: Flavor,
    source: Source,
    repo: Annotated[str | None, typer.Option(help="Publish as user/name; else as hub.repo says.")] = None,
    data: Data = None,
    out: Annotated[str | None, typer.Option(help="user/bucket for the run directory: a next job goes on.")] = None,
    timeout: Timeout = "6h",
    namespace: Namespace = None,
    price: Price = None,
    hours: Hours = None,
    dry_run: DryRun = False,
    follow: Follow = True,
    overrides: SetOption = None,
) -> None:
    """Trains a recipe on hardware of the Hub, evaluates it, writes the card and publishes."""
    where = (repo, data, out, namespace)
    _job("train", recipe, overrides, flavor, source, timeout, where, price, hours, dry_run, follow)


def jobs_eval(
    recipe: RecipeArgument,
    flavor: Flavor,
    source: Source,
    out: Annotated[str, typer.Option(help="user/bucket that holds the run directory, and gets the results.")],
    data: Data = None,
    timeout: Timeout = "6h",
    namespace: Namespace = None,
    price: Price = None,
    hours: Hours = None,
    dry_run: DryRun = False,
    follow: Follow = True,
    overrides: SetOption = None,
) -> None:
    """Evaluates on hardware of the Hub what a job trained into a bucket."""
    where = (None, data, out, namespace)
    _job("eval", recipe, overrides, flavor, source, timeout, where, price, hours, dry_run, follow)


jobs.command("train")(jobs_train)
jobs.command("eval")(jobs_eval)


def _job(
    work: "Work",
    recipe: Path,
    overrides: list[str] | None,
    flavor: str,
    source: str,
    timeout: str,
    where: tuple[str | None, str | None, str | None, str | None],
    price: float | None,
    hours: float | None,
    dry_run: bool,
    follow: bool,
) -> None:
    """Plans a job, and shows it or sends it; `where` is repository, corpora, bucket and namespace."""
    from huggingface_hub import HfApi, get_token

    from escoita.errors import EscoitaError
    from escoita.jobs.cost import estimate, hardware
    from escoita.jobs.plan import plan, require_reachable, seconds
    from escoita.jobs.submit import follow as follow_job
    from escoita.jobs.submit import shown, submit
    from escoita.recipe.schema import load_recipe

    repo, data, out, namespace = where
    loaded, api = load_recipe(recipe, overrides), HfApi()
    most = seconds(timeout)
    require_reachable(api, loaded, data)
    on = hardware(api, flavor, price)
    planned = plan(work, loaded, source, flavor, timeout, on.gpus, repo, data, out, namespace)
    if dry_run:
        for line in shown(planned, on, estimate(on, most, hours, loaded.run_path)):
            typer.echo(line)
        return
    token = get_token()
    if not token:
        raise EscoitaError("no token, which a job needs: hf auth login, or set HF_TOKEN")
    job = submit(api, planned, token)
    typer.echo(job.url)
    if follow:
        follow_job(api, job, typer.echo)
