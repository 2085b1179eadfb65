from pathlib import Path

import pytest
import yaml

from escoita.errors import RecipeError
from escoita.recipe.schema import load_recipe
from escoita.utils.limits import LEVELS, YAML_CHARACTERS
from escoita.utils.untrusted import read_yaml


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_values_and_where_they_stand() -> None:
    values, tree = read_yaml("a: 1\nb: [x, 2.5]\n")
    assert values == {"a": 1, "b": ["x", 2.5]}
    assert isinstance(tree, yaml.MappingNode) and tree.value[1][0].start_mark.line == 1
    assert read_yaml("") == (None, None) and read_yaml(b"- 1")[0] == [1]


def test_an_alias_stands_for_what_it_names() -> None:
    assert read_yaml("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}\n")[0]["d"] == {"b": 1, "e": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "by its aliases"),
        ("a: &a [*a]", "too deep"),
        ("[" * 20_000, "too deep"),
        ("[" * (LEVELS + 2) + "]" * (LEVELS + 2), "too deep"),
        ("x" * (YAML_CHARACTERS + 1), "longer than"),
        ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("!!python/name:os.system", "could not determine a constructor"),
        ("a: 2026-99-99", "cannot be read"),
        ("{[a]: 1}", "unhashable"),
        ("a: !!int x", "cannot be read"),
        ("a: 1" + "0" * 4000, "an integer of 4,001 digits"),
        ("a: 1" + "0" * 5000, "an integer of 5,001 digits"),
        ("--- 1\n--- 2\n", "single document"),
    ],
)
def test_what_is_not_plain_or_too_much_is_refused(text: str, said: str) -> None:
    with pytest.raises(yaml.YAMLError, match=said):
        read_yaml(text)


@pytest.mark.parametrize("text", [BOMB, "[" * 20_000, "a: 2026-99-99"])
def test_a_recipe_that_is_one_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "bomb.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"bomb\.yaml: not YAML: ") as caught:
        load_recipe(tmp_path / "bomb.yaml")
    assert "\n" not in str(caught.value)
