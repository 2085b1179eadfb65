"""Test that the report for others holds figures, but no text that a user, a corpus or a file may have written."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from escoita.errors import EscoitaError, RecipeError
from escoita.models.families import BY_MODEL_TYPE
from escoita.recipe.schema import Recipe
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.training.preflight.checks import Finding
from escoita.training.preflight.shared_report import shared_report


SECRETS = [
    "hf_" + "aB3" * 12,
    "ghp_" + "Zz9" * 12,
    "/home/ana/secret-corpus",
    "C:\\Users\\ana\\corpus",
    "ana@example.org",
    "salom dunyo bu maxfiy matn",
    "\x1b[31mred",
    "acme/private-base",
]
HOSTILE = " ".join(SECRETS)


def leaves(value: Any) -> Iterator[str]:
    """Yield all strings of a document, keys included."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each)
    elif isinstance(value, str):
        yield value


def assert_harmless(report: dict[str, Any], recipe: Recipe) -> None:
    text = json.dumps(report)
    texts = list(leaves(report))
    for secret in [*SECRETS, *HOSTILE.split(), recipe.name, str(Path.cwd()), str(recipe.run_path)]:
        assert not [each for each in texts if secret in each], secret
    assert "/" not in text and "\\" not in text and "@" not in text


@pytest.mark.parametrize("secret", [*SECRETS, HOSTILE])
def test_hostile_findings_are_left_out(short_recipe: Callable[..., Recipe], secret: str) -> None:
    recipe = short_recipe()
    error = RecipeError(secret, path=secret, key=f"training.{secret}", value=secret, hint=secret)
    unknown = type(f"Hidden{'x' * 60}Error", (EscoitaError,), {})(secret, key=secret)
    report = shared_report(
        recipe,
        BY_MODEL_TYPE["gemma4"],
        [
            Finding("refusal", "recipe", secret, secret, (secret,), error),
            Finding("refusal", f"train {secret}", secret, secret, (secret,), unknown),
            Finding("ok", secret, secret, secret, (secret,)),
            Finding("warning", "memory", secret, secret, (secret, f"{secret} 1.000 GB", "activations   1.500 GB")),
        ],
    )
    assert_harmless(report, recipe)
    assert [each["about"] for each in report["findings"]] == ["recipe", "train", None, "memory"]
    assert report["findings"][0] == {"about": "recipe", "mark": "refusal", "error": "RecipeError", "key": None}
    assert report["findings"][3]["parts_gb"] == {"activations": 1.5}


@pytest.mark.parametrize("secret", SECRETS)
def test_hostile_values_of_a_recipe_are_left_out(short_recipe: Callable[..., Recipe], secret: str) -> None:
    recipe = short_recipe()
    words = ("optim", "lr_scheduler_type", "run_name", "hub_token", "report_to", "learning_rate", "max_steps")
    training = recipe.training | dict.fromkeys(words, secret)
    hostile = recipe.model_copy(update={"base": secret, "language": secret, "training": training})
    report = shared_report(hostile, BY_MODEL_TYPE["gemma4"], [])
    assert_harmless(report, recipe)
    assert report["recipe"]["training"]["per_device_train_batch_size"] == 8
    assert not report["recipe"]["training"].keys() & set(words)
    assert report["recipe"]["published_base"] is False


def test_settings_of_a_recipe_are_included(short_recipe: Callable[..., Recipe]) -> None:
    recipe = short_recipe("training.learning_rate=1e-4", "training.optim=adamw_8bit")
    found = shared_report(recipe, BY_MODEL_TYPE["gemma4"], [])["recipe"]
    assert (found["family"], found["rank"], found["experimental"]) == ("gemma4", 8, True)
    assert (found["training"]["learning_rate"], found["training"]["optim"]) == (1e-4, "adamw_8bit")


def test_keys_of_errors_are_those_of_the_schema(short_recipe: Callable[..., Recipe]) -> None:
    keys = ["training.optim", "training.hf_abcdef", "validation.clips", "validation.ana", "base", "ana"]
    findings = [Finding("refusal", "recipe", "", error=RecipeError("no", key=key)) for key in keys]
    found = shared_report(short_recipe(), None, findings)["findings"]
    assert [each["key"] for each in found] == ["training.optim", None, "validation.clips", None, "base", None]


@pytest.mark.parametrize("secret", [*SECRETS, "NVIDIA hf_" + "aB3" * 12, "NVIDIA /home/ana"])
def test_a_hostile_record_is_left_out(quickstart_run: Path, short_recipe: Callable[..., Recipe], secret: str) -> None:
    recipe = short_recipe()
    run = RunDirectory(recipe.run_path)
    run.path.mkdir(exist_ok=True)
    record = TrainingRecord.read(quickstart_run / "training.json")
    changed = {"device": secret, "engine": secret, "mixed_precision": secret, "family": secret, "base": secret}
    versions = record.versions | {"torch": secret, secret: "1.0"}
    record.model_copy(update=changed | {"versions": versions}).write(run.training)
    report = shared_report(recipe, None, [])
    assert_harmless(report, recipe)
    assert report["training"]["steps"] == record.steps and report["training"]["device"] is None
    assert report["training"]["step_seconds"] > 0


def test_a_trained_run_has_its_figures(quickstart_run: Path, short_recipe: Callable[..., Recipe]) -> None:
    recipe = short_recipe(f"run_dir={quickstart_run}")
    report = shared_report(recipe, BY_MODEL_TYPE["gemma4"], [])
    assert_harmless(report, recipe)
    record = TrainingRecord.read(quickstart_run / "training.json")
    assert report["training"]["device"] == "cpu" and report["training"]["clips"] == 24
    assert report["training"]["peak_memory_gb"] == pytest.approx(record.peak_memory_bytes / 1e9, abs=0.01)
    assert report["training"]["versions"]["torch"] == record.versions["torch"]
    assert report["machine"]["versions"]["transformers"] and report["escoita"]


@pytest.mark.parametrize(
    "name", ["NVIDIA GeForce RTX 5090 Laptop GPU", "NVIDIA H100 80GB HBM3", "Tesla T4", "NVIDIA A100-SXM4-80GB"]
)
def test_names_of_gpus_are_included(quickstart_run: Path, short_recipe: Callable[..., Recipe], name: str) -> None:
    recipe = short_recipe()
    run = RunDirectory(recipe.run_path)
    run.path.mkdir(exist_ok=True)
    TrainingRecord.read(quickstart_run / "training.json").model_copy(update={"device": name}).write(run.training)
    assert shared_report(recipe, None, [])["training"]["device"] == name
