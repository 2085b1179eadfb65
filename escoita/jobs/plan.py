"""Plan a job on hardware of the Hub from a recipe, and check that it finds its corpora."""

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


if TYPE_CHECKING:
    from huggingface_hub import HfApi, Volume


_REPOSITORY = "hf upload user/name FOLDER . --repo-type dataset --private"


def require_reachable(api: "HfApi", recipe: Recipe, data: str | None) -> None:
    """
    Refuses what only this machine has.

    Args:
        api (`HfApi`): Client with the user's token.
        recipe ([`Recipe`]): What would be trained or evaluated.
        data (`str`, *optional*): Dataset repository that the job has its corpora from.

    Raises:
        EscoitaError: A path is of this machine, or not in the repository; or the repository cannot be read.
    """
    from escoita.hub.auth import clear_refusals

    wanted = dict(_paths(recipe))
    for where, path in wanted.items():
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise EscoitaError(
                f"{where}: {path} is of this machine, which a job does not see: write it relative to the root of a"
                " dataset repository, and give that with --data user/name"
            )
    if not data:
        for where, path in wanted.items():
            raise EscoitaError(
                f"{where}: {path} is of this machine, which a job does not see: put it into a dataset repository"
                f" ({_REPOSITORY}) under the same path, and give --data user/name"
            )
        return
    if not is_repo_id(data):
        raise EscoitaError(f"--data {data}: not the name of a dataset repository; write user/name")
    clean = {where: str(PurePosixPath(path)) for where, path in wanted.items()}
    with clear_refusals(data, "dataset"):
        there = {found.path for found in api.get_paths_info(data, sorted(set(clean.values())), repo_type="dataset")}
    for where, path in clean.items():
        if path not in there:
            raise EscoitaError(
                f"{where}: {path} is not in datasets/{data}; upload it there under that path ({_REPOSITORY})"
            )


def _paths(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Files and folders that a recipe names, by where it names them."""
    if not is_repo_id(recipe.base) or Path(recipe.base).exists():
        yield "base", recipe.base
    for use in ("train", "validation", "test"):
        for corpus in getattr(recipe.corpora, use):
            if corpus.reader != "hub":
                yield f"corpora.{use}: {corpus.name}", corpus.path


Work = Literal["train", "eval"]
# Where the job finds corpora, and where it writes what outlives it.
DATA, OUT = "/corpora", "/out"
RECIPE = "recipe.yaml"
# What texts and weights depend on: in the job the versions of this machine.
PINNED = ("torch", "transformers", "peft", "trl", "accelerate", "huggingface-hub")
# Of the environment of the job; read by `escoita/jobs/inside.py`.
VARIABLE = "ESCOITA_JOB"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class JobPlan:
    """
    All that a job is made of; secrets by their names alone.

    Args:
        name (`str`): What the Hub calls it.
        recipe (`str`): The recipe, as YAML.
        commands (`list[list[str]]`): What runs, one after the other, until one fails.
        source (`str`): Requirement by which pip finds escoita.
        flavor (`str`): Hardware.
        timeout (`str`): The most that it may take, such as `6h`.
        data (`str`, *optional*): Dataset repository whose files are the corpora.
        out (`str`, *optional*): Bucket into which the run directory goes.
        namespace (`str`, *optional*): User or organization that pays; the user of the token unless given.
        secrets (`tuple[str, ...]`, *optional*, defaults to `("HF_TOKEN",)`): Names.
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
        """What `uv run` is given."""
        return ["python", "-m", "escoita.jobs.inside"]

    @property
    def dependencies(self) -> list[str]:
        """What is installed: escoita, and what texts and weights depend on in the versions that are here."""
        return [self.source, *(f"{package}=={version(package).partition('+')[0]}" for package in PINNED)]

    @property
    def environment(self) -> dict[str, str]:
        """What the job is told; everybody in the namespace may read it."""
        told = {"recipe": self.recipe, "commands": self.commands, "data": DATA if self.data else None}
        return {VARIABLE: json.dumps(told), "HF_HUB_DISABLE_TELEMETRY": "1"}

    @property
    def volumes(self) -> list["Volume"]:
        """What is mounted: corpora to be read, the bucket to be written."""
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
) -> JobPlan:
    """
    Plans a job.

    Args:
        work (`str`): `train`, which then evaluates, writes the card and publishes; or `eval`.
        recipe ([`Recipe`]): What is trained or evaluated.
        source (`str`): Requirement by which pip finds escoita.
        flavor (`str`): Hardware.
        timeout (`str`): Such as `6h`.
        gpus (`int`, *optional*, defaults to 1): So many processes share the work.
        repo (`str`, *optional*): Where a training publishes; `hub.repo` of the recipe unless given.
        data (`str`, *optional*): Dataset repository of the corpora.
        out (`str`, *optional*): Bucket of the run directory.
        namespace (`str`, *optional*): Who pays.

    Raises:
        EscoitaError: Nothing of the work would outlive the job, or a time is written otherwise.
    """
    seconds(timeout)
    repo = repo or recipe.hub.repo
    if work == "train" and not (repo or out):
        raise EscoitaError("nothing would outlive the job: give --repo user/name, --out user/bucket, or both")
    if work == "eval" and not out:
        raise EscoitaError(
            "an evaluation is of a run directory, in the bucket into which the job that trained wrote it: give --out"
            " user/bucket"
        )
    run = f"{OUT}/{recipe.name}" if out else f"runs/{recipe.name}"
    written = recipe.model_dump(mode="json", exclude_defaults=True) | {"run_dir": run}
    if repo:
        written["hub"] = written.get("hub", {}) | {"repo": repo}
    return JobPlan(
        name=f"escoita-{work}-{re.sub('[^A-Za-z0-9_-]', '-', recipe.name)}",
        recipe=yaml.safe_dump(written, sort_keys=False, allow_unicode=True),
        commands=_commands(work, run, gpus, bool(repo)),
        source=source,
        flavor=flavor,
        timeout=timeout,
        data=data,
        out=out,
        namespace=namespace,
    )


def seconds(timeout: str) -> int:
    """
    Seconds of `90m`, `6h` or `2d`.

    Raises:
        EscoitaError: It is written otherwise.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", timeout)
    if match is None or not float(match[1]):
        raise EscoitaError(f"--timeout {timeout}: write 90m, 6h or 2d")
    return round(float(match[1]) * _SECONDS[match[2]])


def _commands(work: Work, run: str, gpus: int, publish: bool) -> list[list[str]]:
    """By several processes the training and the hearing, by one the rest."""
    # Behind `--`, as torchrun would take `--run` for its own.
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc_per_node={gpus}", "-m", "--"]
    shared = ["python", "-m", *(torchrun if gpus > 1 else [])]
    heard: Sequence[list[str]] = [[*shared, "escoita", "eval", "--run", run]]
    alone = [["python", "-m", "escoita", verb, "--run", run] for verb in (["card", "push"] if publish else ["card"])]
    if work == "eval":
        return [*heard, ["python", "-m", "escoita", "summary", "--run", run]]
    return [[*shared, "escoita", "train", RECIPE], *heard, *alone]
