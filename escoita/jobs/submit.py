"""A plan is shown, sent to the Hub, and followed to its end."""

import shlex
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from escoita.errors import EscoitaError
from escoita.hub.auth import clear_refusals
from escoita.jobs.cost import Hardware
from escoita.jobs.plan import VARIABLE, JobPlan, seconds
from escoita.utils.formatting import visible


if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo


def shown(plan: JobPlan, on: Hardware, cost: Iterable[str]) -> Iterator[str]:
    """
    What would run, a line each; of secrets their names.

    Args:
        plan ([`JobPlan`]): The job.
        on ([`~escoita.jobs.cost.Hardware`]): What it runs on.
        cost (`Iterable[str]`): What [`~escoita.jobs.cost.estimate`] says.
    """
    yield f"job        {plan.name}, at most {plan.timeout}"
    yield f"hardware   {on.flavor}{f' ({on.told})' if on.told else ''}"
    yield f"namespace  {plan.namespace or 'of the token'}"
    for line in cost:
        yield f"cost       {line}"
    installed = " ".join(f"--with {shlex.quote(each)}" for each in plan.dependencies)
    yield f"script     uv run {installed} {shlex.join(plan.script)}"
    for command in plan.commands:
        yield f"runs       {shlex.join(command)}"
    for volume in plan.volumes:
        kind = "read-only" if volume.read_only else "written"
        yield f"mounts     {volume.type} {volume.source} at {volume.mount_path}, {kind}"
    for name in plan.secrets:
        yield f"secret     {name} (its value is not shown)"
    for name in plan.environment:
        yield f"variable   {name}{': commands above, recipe below' if name == VARIABLE else ''}"
    yield "recipe"
    yield from (f"  {line}" for line in plan.recipe.splitlines())


def submit(api: "HfApi", plan: JobPlan, token: str) -> "JobInfo":
    """
    Sends a job to the Hub.

    Args:
        api (`HfApi`): Client with the user's token.
        plan ([`JobPlan`]): What is to run.
        token (`str`): What the job reads private repositories and publishes with.

    Raises:
        PublishError: The Hub refuses it.
    """
    script, *arguments = plan.script
    with clear_refusals(plan.name, "namespace, bucket or dataset"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*run_uv_job.*experimental")
        return api.run_uv_job(
            script,
            script_args=arguments,
            dependencies=plan.dependencies,
            env=plan.environment,
            secrets=dict.fromkeys(plan.secrets, token),
            flavor=plan.flavor,
            timeout=seconds(plan.timeout),
            name=plan.name,
            volumes=plan.volumes or None,
            namespace=plan.namespace,
        )


def follow(api: "HfApi", job: "JobInfo", echo: Callable[[str], object]) -> None:
    """
    Prints what a job writes, until it ends.

    Args:
        api (`HfApi`): The client.
        job (`JobInfo`): As [`submit`] gives it.
        echo (`Callable[[str], object]`): Prints a line.

    Raises:
        EscoitaError: The job failed or was stopped.
    """
    with clear_refusals(job.url, "job"):
        for line in api.fetch_job_logs(job_id=job.id, namespace=job.owner.name, follow=True):
            echo(visible(line.rstrip("\n")))
        ended = api.wait_for_job(job_id=job.id, namespace=job.owner.name)
    if ended.status.stage != "COMPLETED":
        said = f": {visible(ended.status.message)}" if ended.status.message else ""
        raise EscoitaError(f"{job.url}: ended with {ended.status.stage}{said}")
