"""Check all workflows, in addition to actionlint and zizmor in `make lint`."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.workflows.reading import GITHUB, WORKFLOWS, all_steps, load


PINNED = re.compile(r"\s*(?:- )?uses: (?P<action>[\w.-]+/[\w./-]+)@(?P<sha>[0-9a-f]{40}) # v\d+\.\d+\.\d+")
TARGET = re.compile(r"make (?P<target>[\w-]+)")
EACH = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def test_the_workflows_are_those_of_the_documentation() -> None:
    text = (ROOT / "docs/actions.md").read_text("utf-8")
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "eval.yml", "publish.yml", "space.yml"]
    assert all(f"`{path.name}`" in text for path in WORKFLOWS)


def test_settings_that_the_workflows_read_are_those_of_the_documentation() -> None:
    text = (ROOT / "docs/actions.md").read_text("utf-8")
    read = {name for path in WORKFLOWS for name in re.findall(r"\b(?:vars|secrets)\.(\w+)", path.read_text("utf-8"))}
    assert read == set(re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE))


@EACH
def test_every_action_is_pinned_to_a_commit_with_its_version(path: Path) -> None:
    lines = [line for line in path.read_text("utf-8").splitlines() if re.match(r"\s*(- )?uses:", line)]
    assert lines and all(PINNED.fullmatch(line) for line in lines)


def test_an_action_has_one_pin_in_all_workflows() -> None:
    found = {
        (match["action"], match["sha"]) for path in WORKFLOWS for match in PINNED.finditer(path.read_text("utf-8"))
    }
    assert len({action for action, _ in found}) == len(found) == 4


@EACH
def test_permissions_are_given_to_jobs_only(path: Path) -> None:
    content = load(path)
    assert content["permissions"] == {}
    for job in content["jobs"].values():
        assert job["permissions"].pop("contents") == "read"
        assert set(job["permissions"].items()) <= {("id-token", "write"), ("actions", "read")}
        assert isinstance(job["timeout-minutes"], int)
    assert content["concurrency"]["group"].startswith("${{ github.workflow }}")


@EACH
def test_checkouts_keep_no_credentials(path: Path) -> None:
    checkouts = [step for step in all_steps(load(path)) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts and all(step["with"]["persist-credentials"] is False for step in checkouts)


@EACH
def test_scripts_contain_no_expressions(path: Path) -> None:
    content = load(path)
    assert content["defaults"]["run"]["shell"] == "bash", "without it a pipe may fail unseen"
    assert not any("${{" in step.get("run", "") for step in all_steps(content))


@EACH
def test_trusted_jobs_do_not_run_for_pull_requests(path: Path) -> None:
    content = load(path)
    for job in content["jobs"].values():
        if job["permissions"].get("id-token") == "write":
            assert job["environment"] == "hub"
            assert "pull_request" not in content["on"] or "github.event_name == 'schedule'" in job["if"]


def test_no_workflow_runs_untrusted_code_with_permissions() -> None:
    assert not any(
        {"pull_request_target", "workflow_run", "issue_comment"} & set(load(path)["on"]) for path in WORKFLOWS
    )


def test_the_token_is_given_to_single_steps_only() -> None:
    for path in WORKFLOWS:
        content = load(path)
        for part in [content, *content["jobs"].values()]:
            assert "secrets." not in str(part.get("env", ""))


def test_github_and_the_checkout_run_the_same_targets_and_lint_once() -> None:
    checkout = TARGET.findall((ROOT / ".ci/run").read_text("utf-8"))
    github = [
        target
        for step in all_steps(load(GITHUB / "workflows/ci.yml"))
        for target in TARGET.findall(step.get("run", ""))
    ]
    assert checkout == ["lint", "test", "test-slow", "test-demo"]
    # `make test` includes the browser tests if Chromium is found, which .ci/run installs.
    assert sorted(github) == sorted([*checkout, "test-browser"])
    rules = dict(re.findall(r"^([\w-]+):(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(github) <= rules.keys()
    assert rules["check"].split() == ["lint", "test"] and "lint" not in rules["test"].split()


def test_ci_tests_the_versions_of_python_that_are_supported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    versions = load(GITHUB / "workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert versions == ["3.11", "3.12", "3.13"] and project["requires-python"] == f">={versions[0]}"


def test_hooks_have_the_versions_of_the_tests() -> None:
    constraints = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    hooks: list[dict[str, Any]] = [hook for repo in repos for hook in repo["hooks"]]
    assert hooks and all(set(hook["additional_dependencies"]) <= set(constraints) for hook in hooks)


@pytest.mark.parametrize("path", sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name)
def test_issue_forms_are_complete(path: Path) -> None:
    form = yaml.safe_load(path.read_text("utf-8"))
    if path.name == "config.yml":
        return
    assert form["name"] and form["description"]
    identifiers = [field["id"] for field in form["body"]]
    assert len(set(identifiers)) == len(identifiers)
    assert all(field["attributes"]["label"] for field in form["body"])
