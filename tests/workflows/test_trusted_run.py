"""Test from which runs publish.yml accepts an artifact."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.workflows.reading import job
from tests.workflows.runner import Runner, StepFailed


SCRIPT = ROOT / ".github/scripts/trusted_run.py"
STEP = "Check the run that is published"


def answer(**changes: Any) -> dict[str, Any]:
    """Return the relevant part of GitHub's response about a run on the default branch."""
    own = {"id": 11, "full_name": "ana/train", "fork": False}
    usual = {
        "id": 42,
        "name": "eval",
        "path": ".github/workflows/eval.yml",
        "event": "schedule",
        "status": "completed",
        "conclusion": "success",
        "head_branch": "main",
        "head_sha": "0" * 40,
        "pull_requests": [],
        "repository": own,
        "head_repository": own,
    }
    return usual | changes


FORK = {"id": 12, "full_name": "eve/train", "fork": True}
ACCEPTED = {
    "a push on main": answer(event="push", path=".github/workflows/publish.yml"),
    "a schedule": answer(),
    "by hand": answer(event="workflow_dispatch"),
    "a path with a reference": answer(path=".github/workflows/eval.yml@refs/heads/main"),
}
REFUSED = {
    "a pull request of a fork": answer(event="pull_request", head_branch="patch-1", head_repository=FORK),
    "a pull request of a fork whose branch is called main": answer(event="pull_request", head_repository=FORK),
    "a pull request of this repository": answer(event="pull_request", head_branch="feature"),
    "a fork's code with rights": answer(event="pull_request_target", head_repository=FORK),
    "a fork that was deleted": answer(head_repository=None),
    "a run that another workflow started": answer(event="workflow_run", path=".github/workflows/other.yml"),
    "another workflow on main": answer(path=".github/workflows/other.yml"),
    "a workflow of almost that name": answer(path=".github/workflows/eval.yml.yml"),
    "another branch": answer(event="workflow_dispatch", head_branch="feature"),
    "a branch with characters of the shell": answer(head_branch="main\n$(touch hacked)"),
    "no branch": answer(head_branch=None),
    "another repository": answer(repository=FORK, head_repository=FORK),
    "another number": answer(id=43),
    "an error of the API": {"message": "Not Found", "status": "404"},
    "no run": [],
}


def check(text: str, run_id: str = "42", branch: str = "main") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--repository", "ana/train", "--branch", branch, "--", run_id]
    return subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize("response", ACCEPTED.values(), ids=ACCEPTED)
def test_a_run_of_the_default_branch_is_accepted(response: dict[str, Any]) -> None:
    done = check(json.dumps(response))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("response", REFUSED.values(), ids=REFUSED)
def test_other_runs_are_refused_in_one_line(response: Any) -> None:
    done = check(json.dumps(response))
    assert done.returncode == 1 and done.stderr.startswith("escoita: run 42: ") and done.stderr.count("\n") == 1


def test_a_response_that_is_not_json_is_refused() -> None:
    done = check("<html>")
    assert done.returncode == 1 and done.stderr.count("\n") == 1


def test_an_unknown_default_branch_accepts_nothing() -> None:
    assert check(json.dumps(answer(head_branch="")), branch="").returncode == 1


@pytest.fixture
def github(runner: Runner, tmp_path: Path) -> Runner:
    """Return a runner whose `gh` prints the file `answer.json` and records its arguments."""
    (programs := tmp_path / "programs").mkdir()
    (gh := programs / "gh").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/requests\ncat {tmp_path}/answer.json\n', "utf-8"
    )
    gh.chmod(0o755)
    runner.environment["PATH"] = f"{programs}:{runner.environment['PATH']}"
    runner.environment["GITHUB_REPOSITORY"] = "ana/train"
    return runner


def step(runner: Runner, tmp_path: Path, response: Any, run_id: str = "42") -> None:
    (tmp_path / "answer.json").write_text(json.dumps(response), "utf-8")
    publish = job("publish.yml", "publish")
    known: dict[str, str | bool] = {
        "inputs.run_id != ''": bool(run_id),
        "inputs.run_id": run_id,
        "github.event.repository.default_branch": "main",
        "github.token": "",
        "inputs.recipe || vars.ESCOITA_RECIPE || 'recipes/quickstart-uzbek.yaml'": "",
    }
    runner.run(replace(publish, steps=[each for each in publish.steps if each.name == STEP]), known)


def test_the_step_requests_the_run_and_accepts_one_of_main(github: Runner, tmp_path: Path) -> None:
    step(github, tmp_path, answer())
    assert (tmp_path / "requests").read_text("utf-8") == "api repos/ana/train/actions/runs/42\n"


def test_the_step_fails_for_a_fork(github: Runner, tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as error:
        step(github, tmp_path, REFUSED["a pull request of a fork"])
    assert error.value.step == STEP and "eve/train" in error.value.output


@pytest.mark.parametrize("run_id", ["1/../../../user", "42?x=1", "-1", "42 43", "$(id)", "42\n43"])
def test_an_invalid_number_is_not_requested(github: Runner, tmp_path: Path, run_id: str) -> None:
    with pytest.raises(StepFailed) as error:
        step(github, tmp_path, answer(), run_id)
    assert error.value.step == STEP and not (tmp_path / "requests").exists()


def test_the_run_is_checked_before_its_artifact_is_downloaded() -> None:
    steps = job("publish.yml", "publish").steps
    (checked,) = (index for index, each in enumerate(steps) if each.name == STEP)
    assert checked < min(index for index, each in enumerate(steps) if "download-artifact" in each.uses)


def test_no_other_workflow_uses_an_artifact_of_another_run() -> None:
    for name in ("ci.yml", "eval.yml", "space.yml"):
        assert "run-id" not in (ROOT / ".github/workflows" / name).read_text("utf-8")
