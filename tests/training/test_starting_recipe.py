"""Check that first recipes of all families load, whatever the names of files and licenses are."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.models.families import FAMILIES
from escoita.recipe.schema import Recipe, load_recipe
from escoita.training.starting_bases import BASES, BaseChoice, base_named
from escoita.training.starting_recipe import Start, recipe_text


CORPUS = {"path": "rows.jsonl", "audio_root": "recordings"}


def start(**changes: Any) -> Start:
    corpora = {split: {**CORPUS, "split": split} for split in ("train", "validation", "test")}
    values = {"name": "household", "language": "gl", "choice": BASES[1], "corpora": corpora, "clips": 240}
    return Start(**{**values, "longest": 12.0, **changes})


def loaded(tmp_path: Path, made: Start) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_text(made), "utf-8")
    return load_recipe(path)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_recipes_of_all_families_load(family: Any, tmp_path: Path) -> None:
    recipe = loaded(tmp_path, start(choice=BaseChoice(family.bases[0], family, 24, 8)))
    assert recipe.base == family.bases[0] and recipe.eval.normalizer == "galician"
    assert recipe.method.kind == ("modules" if family.modules else "lora")
    assert not any(corpus.publish_references for corpus in (*recipe.corpora.train, *recipe.corpora.test))
    steps = recipe.training["per_device_train_batch_size"] * recipe.training["gradient_accumulation_steps"]
    assert 8 <= steps <= 16


@pytest.mark.parametrize("name", ["openai/whisper-small", "facebook/w2v-bert-2.0"])
@pytest.mark.parametrize("gigabytes", [None, 24.0])
def test_the_precision_is_that_of_the_machine(name: str, gigabytes: float | None, tmp_path: Path) -> None:
    recipe = loaded(tmp_path, start(choice=base_named(name, gigabytes), gigabytes=gigabytes))
    assert recipe.dtype == ("bfloat16" if gigabytes else "float32")
    assert recipe.training["bf16"] is bool(gigabytes)


def test_without_validation_data_nothing_is_evaluated_during_training(tmp_path: Path) -> None:
    corpora = {split: {**CORPUS, "split": split} for split in ("train", "test")}
    recipe = loaded(tmp_path, start(corpora=corpora, split_by="clip", publish_references=True, license="cc0-1.0"))
    assert recipe.training["eval_strategy"] == "no" and recipe.validation.patience is None
    assert recipe.corpora.split_by == "clip" and recipe.corpora.test[0].publish_references
    assert recipe.corpora.train[0].license == "cc0-1.0"


@given(path=st.text(min_size=1, max_size=40), line=st.text(max_size=40), license=st.text(max_size=20))
def test_names_cannot_change_the_recipe(
    tmp_path_factory: pytest.TempPathFactory, path: str, line: str, license: str
) -> None:
    from escoita.utils.formatting import visible

    path, license = visible(path), visible(license)
    corpora = {split: {**CORPUS, "path": path, "split": split} for split in ("train", "test")}
    made = start(corpora=corpora, found=[visible(line)], license=license)
    recipe = loaded(tmp_path_factory.getbasetemp(), made)
    assert recipe.corpora.train[0].path == path and (recipe.corpora.train[0].license or "") == license
    assert recipe.name == "household"


def test_smaller_corpora_get_more_epochs(tmp_path: Path) -> None:
    epochs = [loaded(tmp_path, start(clips=clips)).training["num_train_epochs"] for clips in (100, 5_000, 10**6, None)]
    assert epochs[0] > epochs[1] > epochs[2] and epochs[3] == 3


@pytest.mark.parametrize("language, metric", [("gl", "WER"), ("th", "CER")])
def test_the_comment_on_patience_names_the_metric_that_decides(language: str, metric: str) -> None:
    (line,) = (line for line in recipe_text(start(language=language)).splitlines() if "patience:" in line)
    assert metric in line


@pytest.mark.parametrize("name", ["\x85x", "a\x85- {x: y}", "\u2028x", "a: b\n- {x: y}", "\x1b[31m", "# c", "\ufeffa"])
def test_a_name_with_control_characters_is_the_same_when_it_is_read(name: str, tmp_path: Path) -> None:
    corpora = {split: {**CORPUS, "path": name, "split": split} for split in ("train", "test")}
    assert loaded(tmp_path, start(corpora=corpora)).corpora.train[0].path == name
