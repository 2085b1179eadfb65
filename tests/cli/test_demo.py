"""Test which quick start the arguments of `escoita demo` select."""

import pytest
import typer

from escoita.cli.demo import RECIPES, chosen
from tests.conftest import ROOT


@pytest.mark.parametrize(
    "family, recipe, name",
    [
        (None, None, "quickstart-uzbek"),
        (None, "quickstart-galician", "quickstart-galician"),
        ("whisper", None, "quickstart-whisper"),
        ("phi4", "quickstart-galician", "quickstart-galician"),
    ],
)
def test_family_and_recipe_select_a_quick_start(family: str | None, recipe: str | None, name: str) -> None:
    assert chosen(family, recipe) == name


@pytest.mark.parametrize(
    "family, recipe", [("bert", None), (None, "gemma4-uzbek"), ("whisper", "quickstart-uzbek"), ("", None)]
)
def test_unknown_and_contradictory_arguments_are_refused(family: str | None, recipe: str | None) -> None:
    with pytest.raises(typer.BadParameter):
        chosen(family, recipe)


def test_every_quick_start_has_its_recipe() -> None:
    assert {f"{name}.yaml" for name in RECIPES.values()} == {
        path.name for path in (ROOT / "recipes").glob("quickstart-*.yaml")
    }
