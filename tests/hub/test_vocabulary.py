import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCardData

from escoita.cards.metadata import metadata
from escoita.errors import PublishError
from escoita.hub.vocabulary import LISTS, check, vocabulary
from escoita.recipe.schema import load_recipe


ROOT = Path(__file__).parents[2]


def test_the_lists_say_where_they_are_from() -> None:
    document = json.loads((ROOT / "escoita/hub/vocabulary.json").read_text("utf-8"))
    assert [source.split(" ")[0] for source in document["from"]] == [
        f"@huggingface/{name}" for name in ("tasks", "hub", "languages")
    ]
    assert all(source.endswith(", MIT") for source in document["from"])
    assert set(document) == {"from", *LISTS.values()}
    for name in LISTS.values():
        assert document[name] == " ".join(sorted(document[name].split()))


def test_the_lists_know_what_cards_use() -> None:
    known = vocabulary()
    assert {"automatic-speech-recognition", "audio-text-to-text"} <= known["pipeline_tags"]
    assert {"peft", "transformers"} <= known["libraries"]
    assert {"apache-2.0", "mit", "gemma", "other", "cc-by-sa-4.0"} <= known["licenses"]
    assert {"gl", "uz", "glg", "uzn", "multilingual"} <= known["languages"]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_recipes_say_what_the_hub_knows(path: Path) -> None:
    check(metadata(load_recipe(path), None, "user/base"))


@pytest.mark.parametrize(
    "fields, message",
    [
        (
            {"pipeline_tag": "automatic-speech-recogniton"},
            "pipeline_tag: .*did you mean automatic-speech-recognition",
        ),
        ({"library_name": "Peft"}, "library_name: the Hub does not know 'Peft' .did you mean peft"),
        (
            {"license": "Apache-2.0"},
            r"'Apache-2.0' \(did you mean apache-2.0\?\), and takes it as other with license_name",
        ),
        ({"license": ["mit", "apache2"]}, "license: the Hub does not know 'apache2'"),
        ({"language": "qqq"}, "language: the Hub does not know 'qqq'"),
        ({"language": ["gl", "galician"]}, "language: the Hub does not know 'galician'"),
        ({"license": "other"}, "license: other needs license_name; set card.license_name .* needs license_link"),
        ({"license": "mti", "language": "zzz"}, "^card: license: .*; language: "),
    ],
)
def test_what_is_on_no_list_is_refused_with_the_nearest(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PublishError, match=message) as caught:
        check(ModelCardData(**fields))
    assert "\n" not in str(caught.value)


def test_what_is_not_said_is_not_asked_for() -> None:
    check(ModelCardData())
    check(ModelCardData(license="other", license_name="research", license_link="LICENSE"))
