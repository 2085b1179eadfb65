"""Report all mistakes in a recipe, each with its line and key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from escoita.errors import RecipeError
from escoita.recipe.advice import suggested_key, suggested_value
from escoita.utils.untrusted import repeated_keys


@dataclass(frozen=True)
class Mistake:
    """
    Represent one mistake in a recipe.

    Args:
        path (`Path`): The file of the recipe.
        row (`int`, *optional*): The line, counted from 1; `None` if the key is not in the file.
        key (`str`): The key.
        problem (`str`): The mistake.
        hint (`str`, *optional*): The correction, as an imperative.
    """

    path: Path
    row: int | None
    key: str
    problem: str
    hint: str | None = None

    def __str__(self) -> str:
        return str(RecipeError(self.problem, path=self.path, row=self.row, key=self.key, hint=self.hint))


class InvalidRecipeError(RecipeError):
    """
    Report the mistakes in a recipe, one per line.

    Args:
        mistakes (`tuple[Mistake, ...]`): The mistakes, at least one.
    """

    mistakes: tuple[Mistake, ...]


def refuse_repeated_keys(path: Path, text: str) -> None:
    """
    Refuse a recipe with a key that is given twice, of which YAML would use the last.

    Args:
        path (`Path`): The file of the recipe.
        text (`str`): The text of the file.

    Raises:
        InvalidRecipeError: A mapping contains a key more than once.
    """
    mistakes = tuple(
        Mistake(path, row, ".".join(map(str, keys)), f"already given in line {first}", "remove one of the two")
        for keys, first, row in repeated_keys(text)
    )
    if mistakes:
        raise InvalidRecipeError("\n".join(map(str, mistakes)), mistakes=mistakes)


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
        hint: str | None = None
        location = [part for part in detail["loc"] if part not in ("literal['none','some']", "constrained-int")]
        problem = _problem(detail)
        if detail["type"] == "string_type" and isinstance(detail["input"], bool):
            hint = "YAML reads no and yes as booleans unless they are quoted: 'no'"
        if detail["type"] == "value_error" and location[-1] == "language":
            hint = "write a tag such as gl or uz-Latn"
        if location[-1] == "[key]":
            location.pop()
            problem, hint = "unknown key", f"use one of {detail['ctx']['expected']}"
        if detail["type"] == "extra_forbidden":
            problem, hint = "unknown key", None
        if detail["type"] == "union_tag_invalid":
            location.append("kind")
            problem, hint = f"{detail['ctx']['tag']!r} is not a kind of method", f"use one of {', '.join(kinds)}"
        if location[:1] == ["method"] and location[1:2] and location[1] in kinds:
            del location[1]  # the name of the method is not a key of the recipe
        hint = _suggestion(detail, location, root, kinds) or hint
        mistakes.append(Mistake(path, row_of(tree, location), ".".join(map(str, location)), problem, hint))
    return InvalidRecipeError("\n".join(map(str, mistakes)), mistakes=tuple(mistakes))


def _problem(detail: Mapping[str, Any]) -> str:
    """Return what is wrong in the words of YAML, where those of pydantic name its own classes."""
    context = {"expected": "", "min_length": "", **detail.get("ctx", {})}
    value = repr(detail["input"]) if isinstance(detail["input"], (str, int, float)) else _yaml_type(detail["input"])
    texts = {
        "missing": "missing",
        "too_short": "the list is empty; give at least {min_length}",
        "literal_error": "{value} is not one of {expected}",
        "string_type": "expected text, not {value}",
        "int_type": "expected a whole number, not {value}",
        "int_parsing": "expected a whole number, not {value}",
        "int_from_float": "expected a whole number, not {value}",
        "float_type": "expected a number, not {value}",
        "float_parsing": "expected a number, not {value}",
        "bool_type": "expected true or false, not {value}",
        "bool_parsing": "expected true or false, not {value}",
        "list_type": "expected a list, not {value}",
        "dict_type": "expected a mapping of keys to values, not {value}",
        "model_type": "expected a mapping of keys to values, not {value}",
        "model_attributes_type": "expected a mapping of keys to values, not {value}",
    }
    template = texts.get(detail["type"])
    return template.format(value=value, **context) if template else detail["msg"].removeprefix("Value error, ")


def _yaml_type(value: Any) -> str:
    """Return what YAML calls a value that is not a word or a number."""
    return {list: "a list", dict: "a mapping", type(None): "nothing"}.get(type(value), type(value).__name__)


def _suggestion(
    detail: Mapping[str, Any], location: list[Any], root: type[BaseModel], kinds: Mapping[str, type[BaseModel]]
) -> str | None:
    """Return what to write instead, if that can be guessed."""
    *above, key = location or [""]
    if detail["type"] == "extra_forbidden" or (detail["type"] == "literal_error" and detail["loc"][-1] == "[key]"):
        section = "corpora.*" if above[:1] == ["corpora"] and len(above) > 1 else ".".join(map(str, above))
        section += ".columns" if above[-1:] == ["columns"] else ""
        known = [] if section.endswith("columns") else list(_section(detail["loc"][:-1], root, kinds).model_fields)
        meant = suggested_key(section, str(key), known)
        return f"did you mean {meant!r}?" if meant else None
    if detail["type"] == "literal_error":
        allowed = re.findall(r"'([^']+)'", str(detail["ctx"]["expected"]))
    elif detail["type"] == "union_tag_invalid":
        allowed = list(kinds)
    elif key != "language":
        return None
    else:
        allowed = []
    meant = suggested_value(str(key), detail["input"] if key != "kind" else detail["ctx"]["tag"], allowed)
    return f"write {meant}" if meant else None


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


def row_of(node: yaml.Node | None, location: list[Any]) -> int | None:
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
