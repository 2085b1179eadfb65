"""Test the findings on the language of a recipe and on its transcripts."""

import pytest

from escoita.data.rows import Utterance, Utterances
from escoita.recipe.schema import load_recipe
from escoita.training.preflight.language import find_language, find_texts


RECIPE = "recipes/quickstart-uzbek.yaml"


def rows(*texts: str) -> Utterances:
    return Utterances.of(
        Utterance(f"clip-{row}", "a.wav", text, "c", "uz", "train.csv", row) for row, text in enumerate(texts, start=2)
    )


@pytest.mark.parametrize("tag", ["uz-Cyrl", "ug", "th"])
def test_the_language_is_named_with_its_codes(tag: str) -> None:
    names = {
        "uz-Cyrl": ("Uzbek (Cyrillic)", "uz_uz", "uzb-script_cyrillic"),
        "ug": ("Uyghur", "does not have it", "uig-script_arabic"),
        "th": ("Thai", "th_th", "tha"),
    }
    (found,) = find_language(load_recipe(RECIPE, [f"language={tag}"]))
    assert found.mark == "ok" and all(name in found.found for name in names[tag])


def test_each_kind_is_found_with_its_first_row() -> None:
    recipe = load_recipe(RECIPE)
    found = list(find_texts(recipe, "train c", rows("bir", "a&amp;b", "nan", "bir [kulgi]", "á", "a\u0301", "x&lt;y")))
    assert [each.mark for each in found] == ["ok", "warning", "warning", "warning"]  # the form is composed by training
    entities = next(each for each in found if "&amp;" in each.details[0])
    assert "2 of 7" in entities.found and entities.details[0].startswith("train.csv:3: ")
    assert not list(find_texts(recipe, "train c", rows("bir", "ikki")))
    as_they_are = load_recipe(RECIPE, ["corpora.compose=false"])
    (form,) = find_texts(as_they_are, "train c", rows("á", "a\u0301"))
    assert form.mark == "warning" and form.advice


def test_words_that_basic_splits_are_found() -> None:
    recipe = load_recipe(RECIPE, ["eval.normalizer=basic"])
    (found,) = find_texts(recipe, "test c", rows("हिन्दी भाषा", "bir"))
    assert found.mark == "warning" and "2 of 3" in found.found and "unicode" in found.advice
    assert not list(find_texts(load_recipe(RECIPE), "test c", rows("हिन्दी भाषा")))
