"""Clips of a public corpus heard again: equal, changed, and not at hand."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from escoita.cards.verify.check import Check
from escoita.cards.verify.reproduce import check_reproduction
from escoita.evaluation.predictions import described, predictions_path, read_predictions, replaced, write_predictions
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.utils.files import write_atomically


CORPUS = "escoita-quickstart-uz"


@pytest.fixture
def there(quickstart_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """The quick start's run as it would be published, with its adapter at the root and a path that is relative."""
    shutil.copytree(quickstart_run / "adapter", tmp_path / "there")
    shutil.copytree(quickstart_run / "eval", tmp_path / "there/eval")
    recipe = RunDirectory(quickstart_run).load_recipe()
    shutil.copyfile(recipe.corpora.test[0].path, tmp_path / "test.jsonl")
    corpus = recipe.corpora.test[0].model_copy(update={"path": "test.jsonl"})
    base = str(Path(recipe.base).resolve())
    corpora = recipe.corpora.model_copy(update={"test": [corpus]})
    recipe.model_copy(update={"corpora": corpora, "base": base}).write(tmp_path / "there/recipe.yaml")
    monkeypatch.chdir(tmp_path)
    return RunDirectory(tmp_path / "there")


def heard(run: RunDirectory, recipe: Recipe, count: int = 3) -> Check:
    (check,) = check_reproduction(run, recipe, count)
    return check


def published_otherwise(run: RunDirectory, change: Callable[[list[str]], list[str]], **of_the_system: str) -> None:
    path = predictions_path(run.eval, CORPUS, "adapter")
    table, provenance = read_predictions(path)
    provenance = provenance.model_copy(update={"system": provenance.system.model_copy(update=of_the_system)})
    table = replaced(table, {"hypothesis": change(table["hypothesis"].to_pylist())})
    write_predictions(described(table, provenance), path)


def test_what_was_published_is_heard_again(there: RunDirectory) -> None:
    check = heard(there, there.load_recipe())
    assert check == Check(f"{CORPUS} transcribed again", "holds", ["3 clips, all as published"])


def test_a_transcript_that_was_never_heard_differs(there: RunDirectory) -> None:
    published_otherwise(there, lambda texts: [f"{text} qalay" for text in texts])
    check = heard(there, there.load_recipe(), 2)
    assert check.verdict == "differs" and "0 of 2 clips" in check.lines[0]
    assert "qalay" in check.lines[1]


def test_on_another_machine_a_difference_is_told_but_not_counted(there: RunDirectory) -> None:
    published_otherwise(there, lambda texts: [f"{text} qalay" for text in texts], device="A GPU", dtype="bfloat16")
    check = heard(there, there.load_recipe(), 1)
    assert (
        check.verdict == "not checked" and "A GPU in bfloat16" in check.lines[0] and "cpu in float32" in check.lines[0]
    )


def test_recordings_that_are_not_here_are_not_heard(there: RunDirectory, tmp_path: Path) -> None:
    text = there.recipe.read_text("utf-8").replace("test.jsonl", "nowhere.jsonl")
    write_atomically(there.recipe, text)
    check = heard(there, there.load_recipe())
    assert check.verdict == "not checked" and len(check.lines) == 1


def test_other_clips_of_the_same_name_are_not_heard(there: RunDirectory) -> None:
    path = predictions_path(there.eval, CORPUS, "adapter")
    table, provenance = read_predictions(path)
    write_predictions(described(replaced(table, {"reference": ["boshqa"] * len(table)}), provenance), path)
    check = heard(there, there.load_recipe())
    assert check.verdict == "not checked" and len(check.lines) == 1


@pytest.mark.parametrize("path", ["/etc/passwd", "../corpus/test.jsonl", "a/../../b.jsonl"])
def test_no_file_outside_of_the_current_folder_is_read(there: RunDirectory, path: str) -> None:
    recipe = there.load_recipe()
    corpus = recipe.corpora.test[0].model_copy(update={"path": path})
    elsewhere = recipe.model_copy(update={"corpora": recipe.corpora.model_copy(update={"test": [corpus]})})
    check = heard(there, elsewhere)
    assert check.verdict == "not checked" and len(check.lines) == 1
