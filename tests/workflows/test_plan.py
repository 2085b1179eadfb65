"""Test the plan of eval.yml."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.workflows.checkout import git, plain_environment
from tests.workflows.reading import job
from tests.workflows.runner import Runner


DEFAULT, REAL = "recipes/quickstart-uzbek.yaml", "recipes/gemma4-uzbek.yaml"


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """Return a runner whose clone is a repository with the recipes."""
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "recipes", clone / "recipes")
    git(clone, "init", "--quiet", "--initial-branch=main")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "Recipes")
    return Runner(clone, plain_environment(clone, tmp_path / "home"), tmp_path / "scratch")


def plan(runner: Runner, event: str, recipe: str = DEFAULT, flavor: str = "", token: bool = False) -> dict[str, str]:
    """Return the planned recipes, and the hardware of each."""
    known: dict[str, str | bool] = {
        "github.event_name": event,
        "inputs.recipe || vars.ESCOITA_RECIPE || 'recipes/quickstart-uzbek.yaml'": recipe,
        "inputs.flavor || vars.ESCOITA_FLAVOR": flavor,
        "secrets.HF_TOKEN != ''": token,
    }
    runs = json.loads(runner.run(job("eval.yml", "plan"), known)["plan"]["runs"])
    return {each["recipe"]: each["flavor"] for each in runs}


def merge(runner: Runner, *touched: str, deleted: str = "") -> None:
    """Check out the merge of a branch that changed files into main, like GitHub."""
    git(runner.clone, "switch", "--quiet", "--create", "branch")
    for name in touched:
        (runner.clone / name).parent.mkdir(parents=True, exist_ok=True)
        with (runner.clone / name).open("a", encoding="utf-8") as file:
            file.write("# touched\n")
    if deleted:
        git(runner.clone, "rm", "--quiet", deleted)
    git(runner.clone, "add", "--all")
    git(runner.clone, "commit", "--quiet", "--message", "Touch")
    git(runner.clone, "switch", "--quiet", "main")
    git(runner.clone, "merge", "--quiet", "--no-ff", "--message", "Merge", "branch")


def test_on_a_schedule_the_quick_start_is_evaluated_on_the_runner(runner: Runner) -> None:
    assert plan(runner, "schedule") == {DEFAULT: ""}
    assert runner.summary == f"- Evaluated on the CPU of this workflow: {DEFAULT}\n"


@pytest.mark.parametrize("recipe", ["recipes/a b.yaml", "--help", 'x"; echo hacked; "', "$(echo hacked)"])
def test_names_with_special_characters_are_kept(runner: Runner, recipe: str) -> None:
    assert plan(runner, "workflow_dispatch", recipe) == {recipe: ""}


def test_a_file_name_of_a_pull_request_is_one_recipe_and_one_line(runner: Runner) -> None:
    names = [
        "recipes/quickstart-o\u02bbzbek.yaml",
        "recipes/quickstart-\n- Evaluated.yaml",
        "recipes/quickstart-$(x).yaml",
    ]
    merge(runner, *names)
    assert plan(runner, "pull_request") == dict.fromkeys(names, "")
    assert len(runner.summary.splitlines()) == 3


def test_with_a_token_the_hardware_of_jobs_is_used(runner: Runner) -> None:
    assert plan(runner, "workflow_dispatch", REAL, "a10g-small", token=True) == {REAL: "a10g-small"}


def test_a_quick_start_stays_on_the_cpu_of_the_runner(runner: Runner) -> None:
    assert plan(runner, "workflow_dispatch", flavor="a10g-small", token=True) == {DEFAULT: ""}


def test_hardware_without_a_token_is_reported(runner: Runner) -> None:
    assert plan(runner, "workflow_dispatch", REAL, "a10g-small") == {REAL: ""}
    assert "There is no HF_TOKEN for a10g-small." in runner.summary


def test_without_hardware_a_pull_request_evaluates_recipes_for_cpus(runner: Runner) -> None:
    merge(runner, "recipes/quickstart-galician.yaml", REAL, "README.md", deleted=DEFAULT)
    assert plan(runner, "pull_request") == {"recipes/quickstart-galician.yaml": ""}


def test_with_hardware_a_pull_request_evaluates_all_recipes(runner: Runner) -> None:
    merge(runner, "recipes/quickstart-galician.yaml", REAL)
    planned = plan(runner, "pull_request", flavor="a10g-small", token=True)
    assert planned == {REAL: "a10g-small", "recipes/quickstart-galician.yaml": ""}


def test_a_pull_request_that_changes_only_an_adapter_uses_the_default_recipe(runner: Runner) -> None:
    merge(runner, "adapters/own/adapter_config.json")
    assert plan(runner, "pull_request") == {DEFAULT: ""}
