"""The workflows of this repository as data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT


GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def load(path: Path) -> dict[str, Any]:
    """A workflow; YAML 1.1 takes its key `on` for true."""
    content = yaml.safe_load(path.read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}


def job(workflow: str, name: str) -> "Job":
    """A job of a workflow, as `job("eval.yml", "plan")`."""
    content = load(GITHUB / "workflows" / workflow)
    found = content["jobs"][name]
    steps = [Step(name=step.get("name", step.get("uses", "")), **_known(step)) for step in found["steps"]]
    shell = content["defaults"]["run"]["shell"]
    return Job(steps, content.get("env", {}) | found.get("env", {}), shell)


def all_steps(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Every step of every job of a workflow."""
    return [step for found in content["jobs"].values() for step in found["steps"]]


def _known(step: dict[str, Any]) -> dict[str, Any]:
    keys = {"id": "id", "if": "condition", "uses": "uses", "run": "run", "env": "env", "with": "inputs"}
    unknown = set(step) - set(keys) - {"name"}
    assert not unknown, f"the runner of the tests does not know {unknown}"
    return {keys[key]: value for key, value in step.items() if key != "name"}


@dataclass(frozen=True)
class Step:
    """A step of a job, under GitHub's names; `if` and `with` are `condition` and `inputs`."""

    name: str
    id: str = ""
    condition: str = ""
    uses: str = ""
    run: str = ""
    env: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """The steps of a job, with the environment of workflow and job."""

    steps: list[Step]
    env: dict[str, str]
    shell: str
