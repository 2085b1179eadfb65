"""Test the commands inside of a job."""

import json
from pathlib import Path

import pytest

from escoita.jobs.inside import work


def work_of(commands: list[list[str]], data: Path | None = None) -> str:
    return json.dumps({"recipe": "name: x\n", "commands": commands, "data": data and str(data)})


def test_corpora_and_recipe_are_in_the_working_directory(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora/train.jsonl").write_text("{}")
    (tmp_path / "recipe.yaml").write_text("another recipe")
    code = "print(open('recipe.yaml').read(), open('corpora/train.jsonl').read())"
    assert work(work_of([["python", "-c", code]], tmp_path)) == 0
    assert "name: x\n {}" in capfd.readouterr().out
    assert (tmp_path / "recipe.yaml").read_text() == "another recipe"


def test_the_first_failure_ends_the_job(capfd: pytest.CaptureFixture[str]) -> None:
    assert work(work_of([["python", "-c", "raise SystemExit(3)"], ["python", "-c", "print('never')"]])) == 3
    assert work(work_of([["python", "-c", "import os; os.kill(os.getpid(), 9)"]])) == 1
    assert "\nnever" not in capfd.readouterr().out
