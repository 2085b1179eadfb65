import json
from pathlib import Path

import pytest

from escoita.errors import RecordError
from escoita.evaluation.aggregate import score
from escoita.evaluation.errors import HashedReferencesError
from escoita.evaluation.leaderboard import export_predictions
from escoita.evaluation.predictions import public, read_predictions, write_predictions
from escoita.metrics.wer import word_edits
from tests.cards.samples import recipe
from tests.evaluation.samples import write_rows


ROWS = [("bir ikki", "bir ikki", "bir"), ("uch", "toʻrt", "uch")]


def evaluated(folder: Path, systems: tuple[str, ...] = ("adapter", "base")) -> Path:
    write_rows(folder, ROWS, systems=systems, known=[{"speaker": "zoe"}, {"speaker": "ana"}])
    score(folder).write(folder / "results.json")
    return folder


def parsed(path: Path) -> tuple[str, str]:
    """Return model and dataset as the leaderboard reads them from the name of a file."""
    model, _, dataset = path.name.removeprefix("MODEL_").removesuffix(".jsonl").partition("_DATASET_")
    return model.replace("-", "/", 1), dataset


def test_predictions_become_manifests_that_the_leaderboard_reads(tmp_path: Path) -> None:
    paths = export_predictions(evaluated(tmp_path / "eval"), tmp_path / "out")
    assert [parsed(path) for path in paths] == [("local/adapter", "clips_uz_test"), ("user/base", "clips_uz_test")]
    rows = [json.loads(line) for line in paths[1].read_text("utf-8").splitlines()]
    assert list(rows[0]) == ["audio_filepath", "duration", "time", "text", "pred_text"]
    assert rows[0]["duration"] == 2.0 and rows[0]["time"] > 0
    assert word_edits([row["text"] for row in rows], [row["pred_text"] for row in rows]).rate == 1 / 3


def test_a_run_gives_the_names_of_model_and_dataset(tmp_path: Path) -> None:
    evaluated(tmp_path / "eval")
    test = {"name": "clips", "path": "acme/voices", "reader": "hub", "config": "uz_uz", "split": "validation"}
    recipe(corpora={"test": [test]}, hub={"repo": "ana/adapter"}).write(tmp_path / "recipe.yaml")
    adapter, _ = export_predictions(tmp_path, tmp_path / "out")
    assert parsed(adapter) == ("ana/adapter", "acme-voices_uz_uz_validation")


def test_hashed_references_are_not_exported(tmp_path: Path) -> None:
    folder = evaluated(tmp_path / "eval", ("adapter",))
    path = folder / "clips/predictions.parquet"
    write_predictions(public(*read_predictions(path), withheld=True)[0], path)
    with pytest.raises(HashedReferencesError) as error:
        export_predictions(folder, tmp_path / "out")
    assert error.value.path == folder and not (tmp_path / "out").exists()


def test_systems_of_the_same_name_are_refused(tmp_path: Path) -> None:
    folder = evaluated(tmp_path / "eval", ("base", "other"))
    with pytest.raises(RecordError) as error:
        export_predictions(folder, tmp_path / "out")
    assert error.value.path == folder
