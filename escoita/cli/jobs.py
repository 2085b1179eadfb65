"""Define the commands that train and evaluate on hardware of the Hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escoita.cli.options import PublishBaseOption, RecipeArgument, SetOption, repository


if TYPE_CHECKING:
    from escoita.jobs.plan import Work

jobs = typer.Typer(help="Train and evaluate on the Hub, with Hugging Face Jobs.", no_args_is_help=True)

Flavor = Annotated[str, typer.Option(help="Hardware, such as a100-large.")]
Source = Annotated[
    str, typer.Option(help="Source of escoita for pip in the job, such as git+https://HOST/REPOSITORY@COMMIT.")
]
Data = Annotated[
    str | None,
    typer.Option(
        help="Dataset repository with the corpora under the paths of the recipe, user/name.", callback=repository
    ),
]
Timeout = Annotated[str, typer.Option(help="Time limit of the job: 90m, 6h, 2d.")]
Namespace = Annotated[str | None, typer.Option(help="Organization that is billed (default: the user of the token).")]
Price = Annotated[
    float | None, typer.Option(min=0, help="Price in US dollars per hour, if the Hub does not list one.")
]
Hours = Annotated[float | None, typer.Option(min=0, help="Expected duration in hours, for the cost estimate.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, and start no job.")]
Follow = Annotated[bool, typer.Option("--follow/--detach", help="Print the log of the job, and exit with its status.")]


def jobs_train(
    recipe: RecipeArgument,
    flavor: Flavor,
    source: Source,
    repo: Annotated[
        str | None,
        typer.Option(
            help="Repository to publish to, user/name (default: hub.repo of the recipe).", callback=repository
        ),
    ] = None,
    data: Data = None,
    out: Annotated[
        str | None, typer.Option(help="Bucket for the run directory, user/bucket; the next job resumes from it.")
    ] = None,
    timeout: Timeout = "6h",
    namespace: Namespace = None,
    price: Price = None,
    hours: Hours = None,
    dry_run: DryRun = False,
    follow: Follow = True,
    overrides: SetOption = None,
    publish_base: PublishBaseOption = False,
) -> None:
    """Train the adapter of a recipe on hardware of the Hub, evaluate it, write its card and publish it."""
    where = (repo, data, out, namespace)
    _job("train", recipe, overrides, flavor, source, timeout, where, price, hours, dry_run, follow, publish_base)


def jobs_eval(
    recipe: RecipeArgument,
    flavor: Flavor,
    source: Source,
    out: Annotated[
        str, typer.Option(help="Bucket that contains the run directory and receives the results, user/bucket.")
    ],
    data: Data = None,
    timeout: Timeout = "6h",
    namespace: Namespace = None,
    price: Price = None,
    hours: Hours = None,
    dry_run: DryRun = False,
    follow: Follow = True,
    overrides: SetOption = None,
) -> None:
    """Evaluate a run directory in a bucket on hardware of the Hub."""
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
    publish_base: bool = False,
) -> None:
    """Plan a job, and show or send it; `where` holds repository, corpora, bucket and namespace."""
    from huggingface_hub import HfApi, get_token

    from escoita.errors import EscoitaError
    from escoita.jobs.cost import estimate, hardware
    from escoita.jobs.plan import plan, require_reachable, seconds
    from escoita.jobs.submit import follow as follow_job
    from escoita.jobs.submit import shown, submit
    from escoita.recipe.schema import load_recipe

    repo, data, out, namespace = where
    loaded, api = load_recipe(recipe, overrides), HfApi()
    max_seconds = seconds(timeout)
    require_reachable(api, loaded, data)
    on = hardware(api, flavor, price)
    planned = plan(work, loaded, source, flavor, timeout, on.gpus, repo, data, out, namespace, publish_base)
    if dry_run:
        for line in shown(planned, on, estimate(on, max_seconds, hours, loaded.run_path)):
            typer.echo(line)
        return
    token = get_token()
    if not token:
        raise EscoitaError("a job needs a token, and none is set", hint="run hf auth login, or set HF_TOKEN")
    job = submit(api, planned, token)
    typer.echo(job.url)
    if follow:
        follow_job(api, job, typer.echo)
