import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCardData

from escoita.cards.metadata import metadata
from escoita.hub.vocabulary import LISTS, MetadataError, check, vocabulary
from escoita.recipe.schema import load_recipe


ROOT = Path(__file__).parents[2]


def test_the_lists_name_their_sources() -> None:
    document = json.loads((ROOT / "escoita/hub/vocabulary.json").read_text("utf-8"))
    assert [source.split(" ")[0] for source in document["from"]] == [
        f"@huggingface/{name}" for name in ("tasks", "hub", "languages")
    ]
    assert all(source.endswith(", MIT") for source in document["from"])
    assert set(document) == {"from", *LISTS.values()}
    for name in LISTS.values():
        assert document[name] == " ".join(sorted(document[name].split()))


def test_the_lists_contain_the_values_of_cards() -> None:
    known = vocabulary()
    assert {"automatic-speech-recognition", "audio-text-to-text"} <= known["pipeline_tags"]
    assert {"peft", "transformers"} <= known["libraries"]
    assert {"apache-2.0", "mit", "gemma", "other", "cc-by-sa-4.0"} <= known["licenses"]
    assert {"gl", "uz", "glg", "uzn", "multilingual"} <= known["languages"]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_recipes_use_known_values(path: Path) -> None:
    check(metadata(load_recipe(path), None, "user/base"))


@pytest.mark.parametrize(
    "values, fields",
    [
        ({"pipeline_tag": "automatic-speech-recogniton"}, ["pipeline_tag"]),
        ({"library_name": "Peft"}, ["library_name"]),
        ({"license": "Apache-2.0"}, ["license"]),
        ({"license": ["mit", "apache2"]}, ["license"]),
        ({"language": "qqq"}, ["language"]),
        ({"language": ["gl", "galician"]}, ["language"]),
        ({"license": "other"}, ["license_name", "license_link"]),
        ({"license": "mti", "language": "zzz"}, ["license", "language"]),
    ],
)
def test_unknown_values_are_refused(values: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(MetadataError) as refusal:
        check(ModelCardData(**values))
    assert [field for field, _ in refusal.value.faults] == fields
    assert refusal.value.path == "card" and "\n" not in str(refusal.value)


@pytest.mark.parametrize("value, nearest", [("Peft", "peft"), ("automatic-speech-recogniton", None)])
def test_the_nearest_known_value_is_suggested(value: str, nearest: str | None) -> None:
    field = "library_name" if nearest else "pipeline_tag"
    values: dict[str, Any] = {field: value}
    with pytest.raises(MetadataError) as refusal:
        check(ModelCardData(**values))
    assert (nearest or "automatic-speech-recognition") in refusal.value.faults[0][1]


def test_missing_fields_are_not_checked() -> None:
    check(ModelCardData())
    check(ModelCardData(license="other", license_name="research", license_link="LICENSE"))
