import json

from escoita.recipe.schema import Recipe
from tests.conftest import ROOT


def test_the_stored_schema_is_current() -> None:
    """`make schema` writes the file again."""
    assert json.loads((ROOT / "recipes/recipe.schema.json").read_text("utf-8")) == Recipe.model_json_schema()
