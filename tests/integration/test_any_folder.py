"""Test that a run directory works from any folder, with the same records and names."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import HfApi

from escoita.cards.build import write_card
from escoita.cards.publication import publication
from escoita.cards.verify import verify
from escoita.evaluation.aggregate import score
from escoita.evaluation.evaluate import evaluate_run
from escoita.evaluation.predictions import predictions_path, read_predictions
from escoita.evaluation.report.plots import drawings
from escoita.inference.model_source import find_model
from escoita.recipe.schema import load_recipe
from escoita.run_directory import RunDirectory
from escoita.serve.models import find_models
from escoita.space.demo import of_run
from escoita.space.theme import short_name
from escoita.training.sft import train
from escoita.utils.untrusted import read_object
from tests.cards.verifiable_run import write_files
from tests.conftest import CORPUS, ROOT
from tests.hub_double import serve


BASE, NAME = "./models/gemma4", "clips"
RECIPE = Path("recipes/small.yaml")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a base, a corpus, an example clip and a recipe that names them relative to the folder."""
    project = tmp_path_factory.mktemp("any") / "project"
    shutil.copytree(ROOT / "quickstart/gemma4", project / "models/gemma4")
    rows = [json.loads(line) for line in (CORPUS / "train.jsonl").read_text("utf-8").splitlines()[:8]]
    for row in rows:
        (project / "data" / row["audio_filepath"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CORPUS / row["audio_filepath"], project / "data" / row["audio_filepath"])
    (project / "data/train.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    document = yaml.safe_load((ROOT / "recipes/quickstart-uzbek.yaml").read_text("utf-8"))
    corpus = {"name": NAME, "path": "data/train.jsonl"}
    document["corpora"] = {"train": [corpus], "test": [corpus]}
    document["training"] |= {"max_steps": 2, "eval_strategy": "no", "logging_steps": 1, "save_steps": 2}
    document |= {"name": "small", "base": BASE, "validation": {}, "run_dir": None}
    document["eval"] = {"resamples": 100, "probes": False}
    document["space"] = {"examples": [f"data/{rows[0]['audio_filepath']}"]}
    (project / RECIPE).parent.mkdir()
    (project / RECIPE).write_text(yaml.safe_dump(document), "utf-8")
    return project


def folder_texts(run: Path) -> dict[str, Any]:
    """Return the records of a run without the fields that depend on time and machine."""
    kept = (
        "name",
        "base",
        "base_sha256",
        "adapter",
        "adapter_sha256",
        "reference_words",
        "wer",
        "corpora",
        "rejected",
    )

    def same(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: same(each) for key, each in value.items() if key in kept or isinstance(each, dict | list)}
        return [same(each) for each in value] if isinstance(value, list) else None if value is None else str(value)

    files = ("training.json", "data.json", "eval/results.json", "adapter/adapter_config.json", "adapter/escoita.json")
    records = {name: same(json.loads((run / name).read_text("utf-8"))) for name in files}
    table, _ = read_predictions(predictions_path(run / "eval", NAME, "adapter"))
    texts = table.drop_columns(["compute_seconds"]).replace_schema_metadata().to_pylist()
    return records | {"recipe": (run / "recipe.yaml").read_text("utf-8"), "predictions": texts}


@pytest.mark.slow
def test_a_run_has_the_same_records_from_any_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(recipe: Path, run: Path) -> tuple[dict[str, Any], list[str]]:
        train(load_recipe(recipe))
        evaluate_run(run)
        write_card(run)
        loaded = RunDirectory(run)
        assert str(project / "models") not in loaded.card.read_text("utf-8")
        files = publication(loaded, loaded.load_recipe(), "ana/small", "ana/base")
        assert not any(str(project).encode() in content for content in files.values())
        published = tmp_path / run.parent.absolute().parent.name / str(run.is_absolute())
        with serve(tmp_path / "hub") as double:
            monkeypatch.setattr(verify, "HfApi", partial(HfApi, endpoint=double.url, token=False))
            checks = verify.verify(str(write_files(published, files)), score, drawings)
        return folder_texts(run), [f"{check.verdict}: {check.what}" for check in checks]

    monkeypatch.chdir(project)
    here = made(RECIPE, Path("runs/small"))
    assert any(line.startswith("holds") for line in here[1])
    Path("runs").rename("earlier")
    elsewhere = project.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    there = made(Path("../project") / RECIPE, project / "runs/small")
    assert there == here and not list(elsewhere.iterdir())

    run = Path("../project/runs/small")
    assert find_model(str(run)).base == find_model(str(run / "adapter")).base == str(project / "models/gemma4")
    demo = of_run(run)
    found = find_model(str(run)).load().transcribe_file(demo.settings.examples[0])
    assert found.text == read_predictions(predictions_path(run / "eval", NAME, "adapter"))[0]["hypothesis"][0].as_py()
    assert Path(demo.settings.examples[0]).is_file() and short_name(demo.base) == "models/gemma4"
    assert find_models([str(run)]).base_name == "models/gemma4"
    assert read_object(run / "adapter/adapter_config.json", "")["base_model_name_or_path"] == BASE
