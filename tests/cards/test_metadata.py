from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st

from escoita.cards.metadata import dataset_id, expected_index, metadata
from escoita.cards.published_base import published_base
from escoita.hub.files import is_repo_id
from escoita.hub.vocabulary import check
from escoita.recipe.schema import Corpus, Recipe
from escoita.records.evaluation import EvaluationRecord
from tests.cards.samples import evaluation, rates, recipe, result, system_result
from tests.hub_double.card_check import check_card


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


def test_the_index_contains_fractions() -> None:
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
    assert {metric["type"]: metric["value"] for metric in entry["metrics"]} == {"wer": 0.07118, "cer": 0.02342}


def test_the_index_names_the_evaluated_split() -> None:
    chosen = recipe(corpora={"test": [{"name": "clips", "path": "fleurs", "reader": "fleurs", "split": "validation"}]})
    assert {entry.dataset_split for entry in expected_index(chosen, evaluation())} == {"validation"}


def test_before_evaluation_there_is_no_index() -> None:
    assert "model-index" not in metadata(recipe(), None, "user/base").to_dict()


@pytest.mark.parametrize(
    "folder", ["/models/gemma4", "quickstart/gemma4"]
)  # the second one has the form of a repository id
def test_a_folder_is_not_a_base_of_the_hub(folder: str) -> None:
    data = metadata(recipe(), evaluation(), folder).to_dict()
    assert "base_model" not in data and "base_model_relation" not in data


def test_every_corpus_has_its_entries() -> None:
    tests = [{"name": name, "path": f"{name}.jsonl"} for name in ("clips", "more")]
    chosen = recipe(corpora={"test": tests})
    (model,) = metadata(
        chosen, evaluation(result(), result("more", [system_result(normalized=rates(0.5))])), "user/base"
    ).to_dict()["model-index"]
    assert [entry["dataset"]["type"] for entry in model["results"]] == ["clips", "more", "pooled"]
    assert [
        entry.metric_value
        for entry in expected_index(chosen, evaluation(result("more", [system_result(normalized=rates(0.5))])))
    ] == [
        0.5,
        0.02342,
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


def test_a_repository_is_unchanged() -> None:
    assert published_base(recipe().model_copy(update={"base": "google/gemma"}), "user/adapter") == "google/gemma"


SAME: dict[str, Any] = {"path": "acme/voices", "reader": "hub", "config": "gl", "split": "dev", "revision": "1f0c2a9"}
MANY: list[dict[str, Any]] = [
    {"name": "clips", "path": "a.jsonl", "title": "Some: 'clips' | {{ x }}"},
    {
        "name": "fleurs",
        "path": "fleurs/gl_es",
        "reader": "fleurs",
        "url": "https://huggingface.co/datasets/google/fleurs",
    },
    {"name": "first", **SAME, "limit": 10},
    {"name": "second", **SAME},
    {"name": "third", **SAME, "config": "pt"},
]


def many(normalizer: str) -> tuple[Recipe, EvaluationRecord]:
    systems = [system_result(raw=rates(0.25, cer=0.125))] if normalizer != "raw" else [system_result()]
    results = [result(corpus["name"], systems, n=n, word_share=0.2) for n, corpus in enumerate(MANY, 1)]
    return recipe(corpora={"test": MANY}), evaluation(*results, normalizer=normalizer)


@pytest.mark.parametrize("normalizer", ["raw", "galician"])
def test_the_library_keeps_all_keys_of_the_index(normalizer: str) -> None:
    chosen, record = many(normalizer)
    written = f"---\n{metadata(chosen, record, 'user/base', 'user/adapter')}\n---\n"
    card = ModelCard(written)
    again = ModelCard(str(card))
    expected = expected_index(chosen, record, "user/adapter")
    assert card.data.get("eval_results") == again.data.get("eval_results") == expected
    assert str(again) == str(card) == written
    assert len(expected) == (len(MANY) + 1) * (2 if normalizer == "raw" else 4)
    assert len({entry.unique_identifier for entry in expected}) == len(MANY) + 1
    checked = check_card(written, "model")
    assert (checked.errors, checked.warnings) == ([], [])
    check(card.data)


def test_the_index_names_datasets_as_the_hub_does() -> None:
    chosen, record = many("raw")
    found = {
        entry.dataset_name: (
            entry.dataset_type,
            entry.dataset_config,
            entry.dataset_split,
            entry.dataset_revision,
            (entry.dataset_args or {}).get("dataset"),
        )
        for entry in expected_index(chosen, record)
    }
    assert found == {
        "Some: 'clips' | {{ x }}": ("clips", None, "test", None, None),
        "fleurs": ("google/fleurs", None, "test", None, None),
        "first": ("first", "gl", "dev", "1f0c2a9", "acme/voices"),
        "second": ("second", "gl", "dev", "1f0c2a9", "acme/voices"),
        "third": ("acme/voices", "pt", "dev", "1f0c2a9", None),
        "All test corpora, pooled by words": ("pooled", None, "test", None, None),
    }


def test_the_pool_names_its_corpora() -> None:
    chosen, record = many("raw")
    pooled = expected_index(chosen, record, "user/adapter")[-2]
    assert pooled.dataset_args == {
        "language": "uz",
        "n": 15,
        "composition": dict.fromkeys(("clips", "fleurs", "first", "second", "third"), 0.2),
    }
    assert (pooled.metric_name, pooled.metric_value) == ("WER (fraction, raw)", 0.10987)
    assert pooled.source_url == "https://huggingface.co/user/adapter/blob/main/eval/results.json"


@given(st.integers(1, 10**7), st.data())
def test_a_rate_of_the_index_gives_the_number_of_edits(words: int, data: st.DataObject) -> None:
    edits = data.draw(st.integers(0, 3 * words))
    record = evaluation(result(systems=[system_result(normalized=rates(edits / words, reference_words=words))]))
    assert round(expected_index(recipe(), record)[0].metric_value * words) == edits


@pytest.mark.parametrize(
    "corpus, expected",
    [
        ({"path": "acme/voices", "reader": "hub"}, "acme/voices"),
        ({"path": "acme/voices"}, None),
        ({"path": "a", "url": "https://huggingface.co/datasets/acme/voices/tree/main"}, "acme/voices"),
        ({"path": "a", "url": "https://huggingface.co/acme/voices"}, None),
        ({"path": "a", "url": "https://example.org/datasets/acme/voices"}, None),
        ({"path": "a", "url": "https://huggingface.co/datasets/a cme/voi"}, None),
    ],
)
def test_a_dataset_of_the_hub_is_recognized_by_its_address(corpus: dict[str, str], expected: str | None) -> None:
    assert dataset_id(Corpus.model_validate({"name": "clips"} | corpus)) == expected


def test_training_datasets_on_the_hub_are_listed() -> None:
    train = [{"name": "own", "path": "a.jsonl"}, {"name": "one", **SAME}, {"name": "two", **SAME}]
    assert metadata(recipe(corpora={"train": train}), None, "user/base").to_dict()["datasets"] == ["acme/voices"]
    assert "datasets" not in metadata(recipe(), None, "user/base").to_dict()


def test_another_license_has_a_name_and_an_address() -> None:
    other = {"license": "other", "license_name": "nc-research", "license_link": "https://example.org/nc"}
    data = metadata(recipe(card=other), None, "user/base")
    assert {key: data.to_dict()[key] for key in other} == other
    check(data)


def test_rates_of_this_version_are_percentages_and_named_so() -> None:
    current = result(systems=[system_result().model_copy(update={"unusable": 0})])
    (entry, *_) = expected_index(recipe(), evaluation(current))
    (old, *_) = expected_index(recipe(), evaluation(result(systems=[system_result()])))
    assert (old.metric_name, entry.metric_name) == ("WER (fraction, raw)", "WER (percent, raw)")
    assert entry.metric_value == pytest.approx(100 * old.metric_value)
