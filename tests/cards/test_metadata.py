from pathlib import Path
from typing import Any

import pytest

from cards.base import published_base
from cards.metadata import index_entries, is_repo_id, metadata
from tests.cards.samples import evaluation, heard, rates, recipe, result


@pytest.mark.parametrize(
    "name, expected",
    [
        ("user/name", True),
        ("google/gemma-4-E4B-it", True),
        ("name", False),
        ("quickstart/deeper/gemma4", False),
        ("./gemma4", False),
        ("/models/gemma4", False),
        ("user/na me", False),
        ("", False),
    ],
)
def test_names_of_repositories(name: str, expected: bool) -> None:
    assert is_repo_id(name) is expected


def test_front_matter() -> None:
    data = metadata(recipe(card={"tags": ["uzbek", "lora"]}), evaluation(), "user/base").to_dict()
    assert data["language"] == "uz"
    assert data["license"] == "apache-2.0"
    assert data["library_name"] == "peft"
    assert data["pipeline_tag"] == "automatic-speech-recognition"
    assert (data["base_model"], data["base_model_relation"]) == ("user/base", "adapter")
    assert data["tags"] == ["speech", "lora", "uzbek"]


def test_the_index_holds_fractions() -> None:
    (model,) = metadata(recipe(), evaluation(), "user/base").to_dict()["model-index"]
    (entry,) = model["results"]
    assert model["name"] == "small"
    assert (entry["dataset"]["name"], entry["dataset"]["type"], entry["dataset"]["split"]) == (
        "Some clips",
        "clips",
        "test",
    )
    assert entry["dataset"]["args"] == {"language": "uz", "n": 1234}
    assert [metric["args"] for metric in entry["metrics"]] == [{"normalizer": "raw"}] * 2
    assert {metric["type"]: metric["value"] for metric in entry["metrics"]} == {"wer": 0.0712, "cer": 0.0234}


def test_the_index_names_the_split_that_was_heard() -> None:
    chosen = recipe(corpora={"test": [{"name": "clips", "path": "fleurs", "reader": "fleurs", "split": "validation"}]})
    assert {entry.dataset_split for entry in index_entries(chosen, evaluation())} == {"validation"}


def test_before_evaluation_there_is_no_index() -> None:
    assert "model-index" not in metadata(recipe(), None, "user/base").to_dict()


@pytest.mark.parametrize("folder", ["/models/gemma4", "quickstart/gemma4"])  # the second has the form of a repository
def test_a_folder_is_no_base_of_the_hub(folder: str) -> None:
    data = metadata(recipe(), evaluation(), folder).to_dict()
    assert "base_model" not in data and "base_model_relation" not in data


def test_every_corpus_has_its_entries() -> None:
    tests = [{"name": name, "path": f"{name}.jsonl"} for name in ("clips", "more")]
    chosen = recipe(corpora={"test": tests})
    (model,) = metadata(
        chosen, evaluation(result(), result("more", [heard(normalized=rates(0.5))])), "user/base"
    ).to_dict()["model-index"]
    assert [entry["dataset"]["type"] for entry in model["results"]] == ["clips", "more"]
    assert [
        entry.metric_value
        for entry in index_entries(chosen, evaluation(result("more", [heard(normalized=rates(0.5))])))
    ] == [
        0.5,
        0.0234,
    ]


@pytest.mark.parametrize(
    "hub, expected", [({}, "user/gemma4"), ({"publish_base_as": "tiny-gemma4"}, "user/tiny-gemma4")]
)
def test_a_folder_is_published_under_the_owner_of_the_adapter(
    tmp_path: Path, hub: dict[str, Any], expected: str
) -> None:
    (tmp_path / "gemma4").mkdir()
    chosen = recipe(hub=hub).model_copy(update={"base": str(tmp_path / "gemma4")})
    assert published_base(chosen, "user/adapter") == expected


def test_a_repository_stays_what_it_is() -> None:
    assert published_base(recipe().model_copy(update={"base": "google/gemma"}), "user/adapter") == "google/gemma"
