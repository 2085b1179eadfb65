"""Test the script that reads names from a recipe for the workflows."""

import json
from pathlib import Path

import pytest

from tests.cards.publishing import Command
from tests.conftest import ROOT


SCRIPT, RECIPE = ".github/scripts/names.py", "recipes/quickstart-uzbek.yaml"


def test_the_run_directory_of_a_recipe(command: Command) -> None:
    printed = command(SCRIPT, RECIPE, "--repo", "")
    assert printed.stdout == "name=quickstart-uzbek\nrun=runs/quickstart-uzbek\nrepo=\n"


def test_a_given_repository_replaces_that_of_the_recipe(command: Command, tmp_path: Path) -> None:
    text = (ROOT / RECIPE).read_text("utf-8").replace("\nhub:\n", "\nhub:\n  repo: ana/own\n")
    (recipe := tmp_path / "own.yaml").write_text(text, "utf-8")
    assert "repo=ana/own\n" in command(SCRIPT, str(recipe), "--repo", "").stdout
    assert "repo=ana/other\n" in command(SCRIPT, str(recipe), "--repo", "ana/other").stdout


@pytest.mark.parametrize(
    "run_dir", ["runs/own\nrepo=eve/other", "runs/own\r\nrepo=eve/other", "runs/own\n", "a\u2028b"]
)
def test_a_line_break_in_a_recipe_adds_no_output(command: Command, tmp_path: Path, run_dir: str) -> None:
    text = (ROOT / RECIPE).read_text("utf-8") + f"\nrun_dir: {json.dumps(run_dir)}\n"
    (recipe := tmp_path / "own.yaml").write_text(text, "utf-8")
    refused = command(SCRIPT, "--", str(recipe))
    assert refused.returncode == 1 and refused.stdout == "" and refused.stderr.count("\n") == 1


def test_a_recipe_with_the_name_of_an_option_is_a_file(command: Command) -> None:
    refused = command(SCRIPT, "--repo", "", "--", "--help")
    assert refused.returncode and refused.stdout == ""


def test_an_invalid_repository_is_refused_in_one_line(command: Command) -> None:
    refused = command(SCRIPT, RECIPE, "--repo", "ana/own\nrun=elsewhere")
    assert refused.returncode == 1 and refused.stdout == ""
    assert "ana/own run=elsewhere" in refused.stderr and refused.stderr.count("\n") == 1
