"""What is wrong with a recipe, each mistake in one line that says where."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError


def nearest(key: str, known: list[str]) -> str:
    """A hint at the known key that a misspelt one resembles, or an empty string."""
    matches = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def described(
    error: ValidationError,
    path: Path,
    tree: yaml.Node | None,
    root: type[BaseModel],
    kinds: Mapping[str, type[BaseModel]],
) -> str:
    """
    All mistakes, one a line, each with its line in the file where it has one.

    Args:
        error (`ValidationError`): Of the recipe.
        path (`Path`): Its file.
        tree (`yaml.Node`, *optional*): The file as YAML sees it.
        root (`type[BaseModel]`): What a recipe is.
        kinds (`Mapping[str, type[BaseModel]]`): The methods, by their `kind`.
    """
    lines = []
    for mistake in error.errors():
        location = [part for part in mistake["loc"] if part not in ("literal['none','some']", "constrained-int")]
        message = mistake["msg"].removeprefix("Value error, ")
        if mistake["type"] == "string_type" and isinstance(mistake["input"], bool):
            message += "; to YAML, no and yes are not words unless quoted: 'no'"
        if mistake["type"] == "string_pattern_mismatch" and location[-1] == "language":
            message += "; write its code, such as gl"
        if location[-1] == "[key]":
            location.pop()
            message = f"unknown key; there are {mistake['ctx']['expected']}"
        if mistake["type"] == "extra_forbidden":
            known = list(_section(location[:-1], root, kinds).model_fields)
            message = f"unknown key{nearest(str(location[-1]), known)}"
        if mistake["type"] == "union_tag_invalid":
            location.append("kind")
            message = f"there are {', '.join(kinds)}"
        if location[:1] == ["method"] and location[1:2] and location[1] in kinds:
            del location[1]  # which of the methods it is, says its own key
        line = _line(tree, location)
        lines.append(f"{path}{f':{line}' if line else ''}: {'.'.join(map(str, location))}: {message}")
    return "\n".join(lines)


def _section(location: list[Any], root: type[BaseModel], kinds: Mapping[str, type[BaseModel]]) -> type[BaseModel]:
    """The section that a location of pydantic leads to."""
    section = root
    for part in location:
        if part in kinds:
            section = kinds[part]
        elif isinstance(part, str):
            annotation = section.model_fields[part].annotation
            inner = [annotation, *getattr(annotation, "__args__", ())]
            known = (item for item in inner if isinstance(item, type) and issubclass(item, BaseModel))
            section = next(known, section)  # of the methods, the kind that follows is the section
    return section


def _line(node: yaml.Node | None, location: list[Any]) -> int | None:
    """The line, counted from 1, of the deepest key of a location that stands in the file; none for an override."""
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
