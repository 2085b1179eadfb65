"""Show the plan of a job, send it to the Hub, and follow the job."""

import shlex
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from escoita.errors import EscoitaError
from escoita.hub.failures import explain_hub_errors
from escoita.jobs.cost import Hardware
from escoita.jobs.plan import VARIABLE, JobPlan, seconds
from escoita.utils.formatting import visible


if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo


class JobError(EscoitaError):
    """
    Report a job that did not complete.

    Args:
        stage (`str`): The last stage of the job.
    """

    stage: str


def shown(plan: JobPlan, on: Hardware, cost: Iterable[str]) -> Iterator[str]:
    """
    Yield lines that describe a job, with the names of secrets but not their values.

    Args:
        plan ([`JobPlan`]): The plan.
        on ([`~escoita.jobs.cost.Hardware`]): The hardware.
        cost (`Iterable[str]`): The lines from [`~escoita.jobs.cost.estimate`].
    """
    yield f"job        {plan.name}, at most {plan.timeout}"
    yield f"hardware   {on.flavor}{f' ({on.description})' if on.description else ''}"
    yield f"namespace  {plan.namespace or 'user of the token'}"
    for line in cost:
        yield f"cost       {line}"
    installed = " ".join(f"--with {shlex.quote(each)}" for each in plan.dependencies)
    yield f"script     uv run {installed} {shlex.join(plan.script)}"
    for command in plan.commands:
        yield f"runs       {shlex.join(command)}"
    for volume in plan.volumes:
        kind = "read-only" if volume.read_only else "writable"
        yield f"mounts     {volume.type} {volume.source} at {volume.mount_path}, {kind}"
    for name in plan.secrets:
        yield f"secret     {name} (its value is not shown)"
    for name in plan.environment:
        yield f"variable   {name}{': commands above, recipe below' if name == VARIABLE else ''}"
    yield "recipe"
    yield from (f"  {line}" for line in plan.recipe.splitlines())


def submit(api: "HfApi", plan: JobPlan, token: str) -> "JobInfo":
    """
    Send a job to the Hub.

    Args:
        api (`HfApi`): The client with the user's token.
        plan ([`JobPlan`]): The plan.
        token (`str`): The token with which the job reads private repositories and publishes.

    Raises:
        PublishError: The Hub refuses the job.
    """
    script, *arguments = plan.script
    with explain_hub_errors(plan.name, "namespace, bucket or dataset"), warnings.catch_warnings():
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
    Print the log of a job until the job ends.

    Args:
        api (`HfApi`): The client.
        job (`JobInfo`): The job from [`submit`].
        echo (`Callable[[str], object]`): The function that prints a line.

    Raises:
        JobError: The job failed or was stopped.
    """
    with explain_hub_errors(job.url, "job"):
        for line in api.fetch_job_logs(job_id=job.id, namespace=job.owner.name, follow=True):
            echo(visible(line.rstrip("\n")))
        ended = api.wait_for_job(job_id=job.id, namespace=job.owner.name)
    if ended.status.stage != "COMPLETED":
        message = f": {ended.status.message}" if ended.status.message else ""
        raise JobError(f"ended with {ended.status.stage}{message}", path=job.url, stage=ended.status.stage)
