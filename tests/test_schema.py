import json

from escoita.recipe.schema import Recipe
from tests.conftest import ROOT


def test_the_schema_that_editors_read_is_the_recipes_own() -> None:
    """`make schema` writes it anew."""
    assert json.loads((ROOT / "recipes/recipe.schema.json").read_text("utf-8")) == Recipe.model_json_schema()
