"""What the workflows ask of a recipe."""

import json
from pathlib import Path

import pytest

from tests.cards.publishing import Command
from tests.conftest import ROOT


SCRIPT, RECIPE = ".github/scripts/names.py", "recipes/quickstart-uzbek.yaml"


def test_a_recipe_says_where_its_run_is(command: Command) -> None:
    said = command(SCRIPT, RECIPE, "--repo", "")
    assert said.stdout == "name=quickstart-uzbek\nrun=runs/quickstart-uzbek\nrepo=\n"


def test_the_repository_of_the_recipe_stands_unless_another_is_given(command: Command, tmp_path: Path) -> None:
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


def test_a_recipe_whose_name_looks_like_an_option_is_a_file(command: Command) -> None:
    refused = command(SCRIPT, "--repo", "", "--", "--help")
    assert refused.returncode and refused.stdout == ""


def test_what_is_no_repository_is_refused_in_one_line(command: Command) -> None:
    refused = command(SCRIPT, RECIPE, "--repo", "ana/own\nrun=elsewhere")
    assert refused.returncode == 1 and refused.stdout == ""
    assert refused.stderr == "escoita: ana/own run=elsewhere: not the name of a repository; write user/name\n"
