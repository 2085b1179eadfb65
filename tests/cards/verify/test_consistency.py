"""Test the comparison of the records of a run with its recipe."""

from pathlib import Path

import pytest

from escoita.cards.verify.consistency import check_consistency
from escoita.records.training import TrainingRecord
from tests.cards.verifiable_run import make_verifiable_run


@pytest.mark.parametrize(
    ("eval_strategy", "split", "verdict"),
    [
        ("no", "train", "holds"),
        ("epoch", "train", "differs"),
        ("no", "validation", "differs"),
        ("epoch", "validation", "holds"),
    ],
)
def test_validation_corpora_are_in_the_record_only_if_training_evaluates(
    tmp_path: Path, eval_strategy: str, split: str, verdict: str
) -> None:
    """`split` is the last one that the record of the training has."""
    run = make_verifiable_run(tmp_path / "run")
    recipe = run.load_recipe()
    recipe.training["eval_strategy"] = eval_strategy
    training = TrainingRecord.read(run.training)
    kept = [use for use in training.corpora if split == "validation" or use.split == "train"]
    training.model_copy(update={"corpora": kept}).write(run.training)
    assert next(iter(check_consistency(run, recipe, run.adapter))).verdict == verdict
