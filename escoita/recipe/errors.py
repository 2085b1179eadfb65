"""Report all mistakes in a recipe, each with its line and key."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from escoita.errors import RecipeError


@dataclass(frozen=True)
class Mistake:
    """
    Represent one mistake in a recipe.

    Args:
        path (`Path`): The file of the recipe.
        row (`int`, *optional*): The line, counted from 1; `None` if the key is not in the file.
        key (`str`): The key.
        problem (`str`): The problem and its correction.
    """

    path: Path
    row: int | None
    key: str
    problem: str

    def __str__(self) -> str:
        return str(RecipeError(self.problem, path=self.path, row=self.row, key=self.key))


class InvalidRecipeError(RecipeError):
    """
    Report the mistakes in a recipe, one per line.

    Args:
        mistakes (`tuple[Mistake, ...]`): The mistakes, at least one.
    """

    mistakes: tuple[Mistake, ...]


def nearest(key: str, known: list[str]) -> str:
    """Return a hint at the known key that is most similar to a misspelled one, or an empty string."""
    matches = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def invalid_recipe(
    error: ValidationError,
    path: Path,
    tree: yaml.Node | None,
    root: type[BaseModel],
    kinds: Mapping[str, type[BaseModel]],
) -> InvalidRecipeError:
    """
    Return the error with all mistakes that validation found.

    Args:
        error (`ValidationError`): The error of validation.
        path (`Path`): The file of the recipe.
        tree (`yaml.Node`, *optional*): The YAML tree of the file.
        root (`type[BaseModel]`): The class of a recipe.
        kinds (`Mapping[str, type[BaseModel]]`): The classes of the methods by their `kind`.
    """
    mistakes = []
    for detail in error.errors():
        location = [part for part in detail["loc"] if part not in ("literal['none','some']", "constrained-int")]
        problem = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "string_type" and isinstance(detail["input"], bool):
            problem += "; YAML reads no and yes as booleans unless they are quoted: 'no'"
        if detail["type"] == "string_pattern_mismatch" and location[-1] == "language":
            problem += "; use a language code such as gl"
        if location[-1] == "[key]":
            location.pop()
            problem = f"unknown key; use one of {detail['ctx']['expected']}"
        if detail["type"] == "extra_forbidden":
            known = list(_section(location[:-1], root, kinds).model_fields)
            problem = f"unknown key{nearest(str(location[-1]), known)}"
        if detail["type"] == "union_tag_invalid":
            location.append("kind")
            problem = f"use one of {', '.join(kinds)}"
        if location[:1] == ["method"] and location[1:2] and location[1] in kinds:
            del location[1]  # the name of the method is not a key of the recipe
        mistakes.append(Mistake(path, _line(tree, location), ".".join(map(str, location)), problem))
    return InvalidRecipeError("\n".join(map(str, mistakes)), mistakes=tuple(mistakes))


def _section(location: list[Any], root: type[BaseModel], kinds: Mapping[str, type[BaseModel]]) -> type[BaseModel]:
    """Return the section at a location of pydantic."""
    section = root
    for part in location:
        if part in kinds:
            section = kinds[part]
        elif isinstance(part, str):
            annotation = section.model_fields[part].annotation
            inner = [annotation, *getattr(annotation, "__args__", ())]
            known = (item for item in inner if isinstance(item, type) and issubclass(item, BaseModel))
            section = next(known, section)  # for `method`, the following kind selects the section
    return section


def _line(node: yaml.Node | None, location: list[Any]) -> int | None:
    """Return the line, counted from 1, of the deepest key of a location in the file; `None` for an override."""
    line = None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == part]
            if not found:
                return line
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
