"""Plan a job on hardware of the Hub from a recipe, and check that the job can read its corpora."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import yaml

from escoita.errors import EscoitaError
from escoita.hub.files import is_repo_id
from escoita.recipe.schema import Recipe
from escoita.utils.locations import as_written, name_as_written


if TYPE_CHECKING:
    from huggingface_hub import HfApi, Volume


_UPLOAD = "hf upload user/name FOLDER . --repo-type dataset --private"


class LocalPathError(EscoitaError):
    """Report a path of this machine, which a job cannot read."""

    problem = "a job cannot read this path of the local machine"
    hint = f"upload it to a dataset repository under the same path ({_UPLOAD}), and give --data user/name"


class MissingPathError(EscoitaError):
    """
    Report a path that is not in a dataset repository.

    Args:
        repo (`str`): The dataset repository.
    """

    repo: str
    problem = "not found in datasets/{repo}"
    hint = f"upload it there under this path ({_UPLOAD})"


class OutputError(EscoitaError):
    """Report a job whose results would not be stored."""


class LocalBaseError(OutputError):
    """Report a job that trains on a local base, and whose adapter would be lost because `push` refuses it."""

    problem = "publishing the adapter would be refused, because its base is a local folder"
    hint = "add --publish-base, or store the run directory with --out user/bucket"


def require_reachable(api: "HfApi", recipe: Recipe, data: str | None) -> None:
    """
    Refuse files and folders that exist only on this machine.

    Args:
        api (`HfApi`): The client with the user's token.
        recipe ([`Recipe`]): The recipe of the job.
        data (`str`, *optional*): The dataset repository with the corpora of the job.

    Raises:
        LocalPathError: A path is one of this machine.
        MissingPathError: A path is not in the repository.
        EscoitaError: The repository cannot be read.
    """
    from escoita.hub.failures import explain_hub_errors

    paths = dict(_paths(recipe))
    for key, path in paths.items():
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            hint = "write it relative to the root of a dataset repository, and give --data user/name"
            raise LocalPathError(key=key, value=path, hint=hint)
    if not data:
        for key, path in paths.items():
            raise LocalPathError(key=key, value=path)
        return
    if not is_repo_id(data):
        raise EscoitaError("expected a dataset repository, user/name", key="--data", value=data)
    clean = {key: str(PurePosixPath(path)) for key, path in paths.items()}
    with explain_hub_errors(data, "dataset"):
        existing = {found.path for found in api.get_paths_info(data, sorted(set(clean.values())), repo_type="dataset")}
    for key, path in clean.items():
        if path not in existing:
            raise MissingPathError(key=key, value=path, repo=data)


def _base_is_local(recipe: Recipe) -> bool:
    return not is_repo_id(recipe.base) or Path(recipe.base).exists()


def _paths(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield the files and folders of a recipe, each with its key."""
    if _base_is_local(recipe):
        yield "base", name_as_written(recipe.base)
    for use in ("train", "validation", "test"):
        for corpus in getattr(recipe.corpora, use):
            if not corpus.remote:
                yield f"corpora.{use}: {corpus.name}", name_as_written(corpus.path)
    for retained in recipe.eval.retention:
        if not retained.remote:
            yield f"eval.retention: {retained.name}", name_as_written(retained.path)


Work = Literal["train", "eval"]
# The folders of the job for corpora and for results that are stored.
DATA, OUT = "/corpora", "/out"
RECIPE = "recipe.yaml"
# Packages that affect texts and weights, whose versions in the job are those of this machine.
PINNED = ("torch", "transformers", "peft", "trl", "accelerate", "huggingface-hub")
# The environment variable with the plan, which `escoita/jobs/inside.py` reads.
VARIABLE = "ESCOITA_JOB"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class JobPlan:
    """
    Hold the plan of a job, with the names of secrets but not their values.

    Args:
        name (`str`): The name of the job on the Hub.
        recipe (`str`): The recipe as YAML.
        commands (`list[list[str]]`): The commands, which run one after the other until one fails.
        source (`str`): The requirement with which pip installs escoita.
        flavor (`str`): The hardware.
        timeout (`str`): The time limit, such as `6h`.
        data (`str`, *optional*): The dataset repository of the corpora.
        out (`str`, *optional*): The bucket for the run directory.
        namespace (`str`, *optional*): The user or organization that pays; defaults to the user of the token.
        secrets (`tuple[str, ...]`, *optional*, defaults to `("HF_TOKEN",)`): The names of the secrets.
    """

    name: str
    recipe: str
    commands: list[list[str]]
    source: str
    flavor: str
    timeout: str
    data: str | None = None
    out: str | None = None
    namespace: str | None = None
    secrets: tuple[str, ...] = field(default=("HF_TOKEN",))

    @property
    def script(self) -> list[str]:
        """Return the arguments of `uv run`."""
        return ["python", "-m", "escoita.jobs.inside"]

    @property
    def dependencies(self) -> list[str]:
        """Return the requirements: escoita, and the pinned packages in the versions of this machine."""
        return [self.source, *(f"{package}=={version(package).partition('+')[0]}" for package in PINNED)]

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables, which all members of the namespace can read."""
        work = {"recipe": self.recipe, "commands": self.commands, "data": DATA if self.data else None}
        return {VARIABLE: json.dumps(work), "HF_HUB_DISABLE_TELEMETRY": "1"}

    @property
    def volumes(self) -> list["Volume"]:
        """Return the mounts: the corpora read-only, and the bucket for results."""
        from huggingface_hub import Volume

        read = [Volume(type="dataset", source=self.data, mount_path=DATA, read_only=True)] if self.data else []
        return read + ([Volume(type="bucket", source=self.out, mount_path=OUT)] if self.out else [])


def plan(
    work: Work,
    recipe: Recipe,
    source: str,
    flavor: str,
    timeout: str,
    gpus: int = 1,
    repo: str | None = None,
    data: str | None = None,
    out: str | None = None,
    namespace: str | None = None,
    publish_base: bool = False,
) -> JobPlan:
    """
    Return the plan of a job.

    Args:
        work (`str`): The kind of job: `train`, which also evaluates, writes the card and publishes; or `eval`.
        recipe ([`Recipe`]): The recipe.
        source (`str`): The requirement with which pip installs escoita.
        flavor (`str`): The hardware.
        timeout (`str`): The time limit, such as `6h`.
        gpus (`int`, *optional*, defaults to 1): The number of processes that share the work.
        repo (`str`, *optional*): The repository to publish to; defaults to `hub.repo` of the recipe.
        data (`str`, *optional*): The dataset repository of the corpora.
        out (`str`, *optional*): The bucket for the run directory.
        namespace (`str`, *optional*): The user or organization that pays.
        publish_base (`bool`, *optional*, defaults to `False`): Whether a base that is a local folder is published
            too.

    Raises:
        OutputError: The results would not be stored.
        LocalBaseError: The adapter would be lost, because its base may not be published.
        EscoitaError: The time limit is not valid.
    """
    seconds(timeout)
    repo = repo or recipe.hub.repo
    if work == "train" and not (repo or out):
        hint = "give --repo user/name, --out user/bucket, or both"
        raise OutputError("the results of the job would not be stored", hint=hint)
    if work == "eval" and not out:
        problem = "required, because the run directory to evaluate is in the bucket of the training job"
        raise OutputError(problem, key="--out", hint="give --out user/bucket")
    if work == "train" and not out and not publish_base and _base_is_local(recipe):
        raise LocalBaseError(key="base", value=name_as_written(recipe.base))
    run = f"{OUT}/{recipe.name}" if out else f"runs/{recipe.name}"
    values = as_written(recipe.model_dump(mode="json", exclude_unset=True)) | {"run_dir": run}
    if repo:
        values["hub"] = values.get("hub", {}) | {"repo": repo}
    return JobPlan(
        name=f"escoita-{work}-{re.sub('[^A-Za-z0-9_-]', '-', recipe.name)}",
        recipe=yaml.safe_dump(values, sort_keys=False, allow_unicode=True),
        commands=_commands(work, run, gpus, bool(repo), publish_base),
        source=source,
        flavor=flavor,
        timeout=timeout,
        data=data,
        out=out,
        namespace=namespace,
    )


def seconds(timeout: str) -> int:
    """
    Return the seconds of a duration such as `90m`, `6h` or `2d`.

    Raises:
        EscoitaError: The duration has another form.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", timeout)
    if match is None or not float(match[1]):
        raise EscoitaError("expected a duration such as 90m, 6h or 2d", key="--timeout", value=timeout)
    return round(float(match[1]) * _SECONDS[match[2]])


def _commands(work: Work, run: str, gpus: int, publish: bool, publish_base: bool) -> list[list[str]]:
    """Return the commands; training and evaluation run in several processes, the others in one."""
    # After `--`, because torchrun has its own option `--run`.
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc_per_node={gpus}", "-m", "--"]
    shared = ["python", "-m", *(torchrun if gpus > 1 else [])]
    evaluation: Sequence[list[str]] = [[*shared, "escoita", "eval", "--run", run]]
    single = [["python", "-m", "escoita", verb, "--run", run] for verb in (["card", "push"] if publish else ["card"])]
    if publish and publish_base:
        single[-1].append("--publish-base")
    if work == "eval":
        return [*evaluation, ["python", "-m", "escoita", "summary", "--run", run]]
    return [[*shared, "escoita", "train", RECIPE], *evaluation, *single]
