"""Read the workflows of this repository."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT


GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def load(path: Path) -> dict[str, Any]:
    """Return a workflow; YAML 1.1 reads its key `on` as true."""
    content = yaml.safe_load(path.read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}


def job(workflow: str, name: str) -> "Job":
    """Return a job of a workflow, as in `job("eval.yml", "plan")`."""
    content = load(GITHUB / "workflows" / workflow)
    found = content["jobs"][name]
    steps = [Step(name=step.get("name", step.get("uses", "")), **_known(step)) for step in found["steps"]]
    shell = content["defaults"]["run"]["shell"]
    return Job(steps, content.get("env", {}) | found.get("env", {}), shell)


def all_steps(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every step of every job of a workflow."""
    return [step for found in content["jobs"].values() for step in found["steps"]]


def _known(step: dict[str, Any]) -> dict[str, Any]:
    keys = {"id": "id", "if": "condition", "uses": "uses", "run": "run", "env": "env", "with": "inputs"}
    unknown = set(step) - set(keys) - {"name"}
    assert not unknown, f"the runner of the tests does not know {unknown}"
    return {keys[key]: value for key, value in step.items() if key != "name"}


@dataclass(frozen=True)
class Step:
    """Hold a step of a job with GitHub's names, except `condition` for `if` and `inputs` for `with`."""

    name: str
    id: str = ""
    condition: str = ""
    uses: str = ""
    run: str = ""
    env: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """Hold the steps of a job, with the environment of workflow and job."""

    steps: list[Step]
    env: dict[str, str]
    shell: str
