"""What a job of the Hub would run: made from a recipe, shown as it is, and sent as it is shown."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import yaml

from escoita.errors import EscoitaError
from escoita.recipe.recipe import Recipe


if TYPE_CHECKING:
    from huggingface_hub import Volume

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
