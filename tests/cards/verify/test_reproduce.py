"""Test the repeated transcription of clips of a public corpus: equal, changed, and unavailable."""

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
def repository(quickstart_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """Return the published files of the quick start's run in a folder, with relative paths."""
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


def transcribe_again(run: RunDirectory, recipe: Recipe, count: int = 3) -> Check:
    (check,) = check_reproduction(run, recipe, count)
    return check


def published_otherwise(run: RunDirectory, change: Callable[[list[str]], list[str]], **of_the_system: str) -> None:
    path = predictions_path(run.eval, CORPUS, "adapter")
    table, provenance = read_predictions(path)
    provenance = provenance.model_copy(update={"system": provenance.system.model_copy(update=of_the_system)})
    table = replaced(table, {"hypothesis": change(table["hypothesis"].to_pylist())})
    write_predictions(described(table, provenance), path)


def test_published_transcripts_are_reproduced(repository: RunDirectory) -> None:
    check = transcribe_again(repository, repository.load_recipe())
    assert check == Check(f"{CORPUS} transcribed again", "holds", ["3 clips, all as published"])


def test_a_forged_transcript_differs(repository: RunDirectory) -> None:
    published_otherwise(repository, lambda texts: [f"{text} qalay" for text in texts])
    check = transcribe_again(repository, repository.load_recipe(), 2)
    assert check.verdict == "differs" and "0 of 2 clips" in check.lines[0]
    assert "qalay" in check.lines[1]


def test_on_another_machine_a_difference_is_only_reported(repository: RunDirectory) -> None:
    published_otherwise(
        repository, lambda texts: [f"{text} qalay" for text in texts], device="A GPU", dtype="bfloat16"
    )
    check = transcribe_again(repository, repository.load_recipe(), 1)
    assert (
        check.verdict == "not checked" and "A GPU in bfloat16" in check.lines[0] and "cpu in float32" in check.lines[0]
    )


def test_unavailable_recordings_are_not_transcribed(repository: RunDirectory, tmp_path: Path) -> None:
    text = repository.recipe.read_text("utf-8").replace("test.jsonl", "nowhere.jsonl")
    write_atomically(repository.recipe, text)
    check = transcribe_again(repository, repository.load_recipe())
    assert check.verdict == "not checked" and len(check.lines) == 1


def test_other_clips_of_the_same_name_are_not_transcribed(repository: RunDirectory) -> None:
    path = predictions_path(repository.eval, CORPUS, "adapter")
    table, provenance = read_predictions(path)
    write_predictions(described(replaced(table, {"reference": ["boshqa"] * len(table)}), provenance), path)
    check = transcribe_again(repository, repository.load_recipe())
    assert check.verdict == "not checked" and len(check.lines) == 1


@pytest.mark.parametrize("path", ["/etc/passwd", "../corpus/test.jsonl", "a/../../b.jsonl"])
def test_files_outside_of_the_current_folder_are_not_read(repository: RunDirectory, path: str) -> None:
    recipe = repository.load_recipe()
    corpus = recipe.corpora.test[0].model_copy(update={"path": path})
    elsewhere = recipe.model_copy(update={"corpora": recipe.corpora.model_copy(update={"test": [corpus]})})
    check = transcribe_again(repository, elsewhere)
    assert check.verdict == "not checked" and len(check.lines) == 1
