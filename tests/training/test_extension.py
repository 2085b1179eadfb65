import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from escoita.errors import RecordError
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.training.checkpointing import ChangedRecipeError, refuse_other_recipe, start_over
from escoita.training.extension import (
    Extension,
    NoCheckpointError,
    OutOfPatienceError,
    extension_of,
    read_extensions,
    reopen,
    save_extension,
)
from tests.samples import RECIPE


def recipe(**training: Any) -> Recipe:
    document = yaml.safe_load(RECIPE)
    rest = {key: value for key, value in document["training"].items() if key not in ("max_steps", "num_train_epochs")}
    return Recipe.model_validate(document | {"training": rest | training})


@pytest.mark.parametrize(
    "before, now, key, values",
    [
        ({"max_steps": 6}, {"max_steps": 10}, "training.max_steps", (6, 10)),
        ({"num_train_epochs": 2}, {"num_train_epochs": 2.5}, "training.num_train_epochs", (2, 2.5)),
        ({}, {"num_train_epochs": 4}, "training.num_train_epochs", (3, 4)),
    ],
)
def test_more_steps_or_epochs_extend_a_run(
    before: dict[str, Any], now: dict[str, Any], key: str, values: tuple[float, float], tmp_path: Path
) -> None:
    found = extension_of(recipe(**before), recipe(**now))
    assert found is not None and (found.key, (found.before, found.now)) == (key, values)
    run = RunDirectory(tmp_path)
    recipe(**before).write(run.recipe)
    run.training.touch()
    refuse_other_recipe(run, recipe(**now))


@pytest.mark.parametrize(
    "before, now, key",
    [
        ({"max_steps": 6}, {"max_steps": 5}, "training.max_steps"),
        ({"max_steps": 6}, {}, "training.max_steps"),
        ({}, {"max_steps": 100}, "training.max_steps"),
        ({"num_train_epochs": 2}, {"num_train_epochs": 1}, "training.num_train_epochs"),
        (
            {"max_steps": 6, "num_train_epochs": 2},
            {"max_steps": 6, "num_train_epochs": 3},
            "training.num_train_epochs",
        ),
        ({"max_steps": 6, "seed": 1}, {"max_steps": 10, "seed": 2}, "training.seed"),
    ],
)
def test_other_changes_are_refused(before: dict[str, Any], now: dict[str, Any], key: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    recipe(**before).write(run.recipe)
    run.training.touch()
    with pytest.raises(ChangedRecipeError) as refused:
        refuse_other_recipe(run, recipe(**now))
    assert refused.value.key == key


def test_only_a_schedule_with_an_end_is_mentioned() -> None:
    lines = [str(Extension("training.max_steps", 6, 10, schedule)) for schedule in ("cosine", "constant")]
    assert ["schedule" in line for line in lines] == [True, False]
    assert all("6" in line and "10" in line and "training.max_steps" in line for line in lines)


def test_extensions_are_stored_until_the_run_starts_over(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)

    def extend(before: int, now: int, step: int | None) -> list[tuple[int, float, float]]:
        recipe(max_steps=before).write(run.recipe)
        checkpoint = None if step is None else run.checkpoints / f"checkpoint-{step}"
        save_extension(run, recipe(max_steps=now), checkpoint)
        return [(each.step, each.before, each.now) for each in read_extensions(run)]

    assert read_extensions(run) == [] and extend(6, 6, 4) == []
    assert extend(6, 10, 6) == [(6, 6, 10)]
    assert extend(6, 10, 6) == [(6, 6, 10)]  # the first command was killed before it replaced the recipe
    assert extend(10, 20, 8) == [(6, 6, 10), (8, 10, 20)]
    assert extend(20, 20, 18) == [(6, 6, 10), (8, 10, 20)]
    (run.checkpoints / "extensions.json").write_text("[{}]")
    with pytest.raises(RecordError) as refused:
        read_extensions(run)
    assert refused.value.path == run.checkpoints / "extensions.json"
    start_over(run)
    assert read_extensions(run) == []
    extend(6, 10, 6)
    assert extend(6, 10, None) == []


def finished(folder: Path, not_improved: int = 0, step: int | None = 4) -> tuple[RunDirectory, Path]:
    """Return a finished run with the adapter of a step, and its last checkpoint."""
    run = RunDirectory(folder)
    checkpoint = run.checkpoints / "checkpoint-6"
    checkpoint.mkdir(parents=True)
    best = {"args": {"patience": 2}, "attributes": {"step": step, "not_improved": not_improved}}
    state = {"global_step": 6, "stateful_callbacks": {"BestAdapter": best}}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    run.training.touch()
    run.adapter.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "tokenizer.json"):
        (run.adapter / name).write_text(name)
    return run, checkpoint


def reopened(run: RunDirectory, checkpoint: Path | None, kept: int | None = 4, patience: int | None = 2) -> None:
    with patch("escoita.training.extension.TrainingRecord.read") as read:
        read.return_value.kept_step = kept
        reopen(run, checkpoint, patience)


def test_a_reopened_run_keeps_its_best_adapter(tmp_path: Path) -> None:
    run, checkpoint = finished(tmp_path)
    reopened(run, checkpoint)
    assert sorted(path.name for path in (run.best / "step-4").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert not run.training.exists() and not run.adapter.exists() and len(list(run.best.iterdir())) == 1


def test_an_adapter_of_another_step_is_not_the_best(tmp_path: Path) -> None:
    run, checkpoint = finished(tmp_path, step=None)
    reopened(run, checkpoint, kept=None)
    assert not run.best.exists() and not run.training.exists()


def test_a_run_without_a_checkpoint_is_not_reopened(tmp_path: Path) -> None:
    run, _ = finished(tmp_path)
    with pytest.raises(NoCheckpointError) as refused:
        reopened(run, None)
    assert refused.value.path == run.path and run.training.exists() and run.adapter.exists()


def test_a_run_that_early_stopping_ended_is_not_reopened(tmp_path: Path) -> None:
    run, checkpoint = finished(tmp_path, not_improved=2)
    with pytest.raises(OutOfPatienceError) as refused:
        reopened(run, checkpoint)
    assert (refused.value.key, refused.value.value, refused.value.step) == ("validation.patience", 2, 6)
    assert run.training.exists() and run.adapter.exists()
    reopened(run, checkpoint, patience=3)  # the patience of the recipe counts, not that of the checkpoint
    assert not run.training.exists()
