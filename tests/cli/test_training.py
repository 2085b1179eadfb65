"""Test the options of `escoita doctor`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from escoita.cli.main import app
from escoita.recipe.schema import Recipe


@pytest.mark.parametrize(
    "changes, code", [pytest.param((), 0, marks=pytest.mark.slow), (("training.learning_rate=0",), 1)]
)
def test_the_report_is_json_and_has_the_status_of_the_findings(
    short_recipe: Callable[..., Recipe], tmp_path: Path, changes: tuple[str, ...], code: int
) -> None:
    short_recipe().write(tmp_path / "recipe.yaml")
    arguments = [argument for change in changes for argument in ("--set", change)]
    ended = CliRunner().invoke(app, ["doctor", str(tmp_path / "recipe.yaml"), "--report", *arguments])
    assert ended.exit_code == code
    report = json.loads(ended.stdout)
    marks = {(each["about"], each["mark"]) for each in report["findings"]}
    assert ("memory", "ok") in marks and (("recipe", "refusal") in marks) is bool(code)
    assert report["recipe"]["family"] == "gemma4"
    keys = [each["key"] for each in report["findings"] if each.get("key")]
    assert keys == ["training.learning_rate"] * code
    assert str(tmp_path) not in ended.stdout
