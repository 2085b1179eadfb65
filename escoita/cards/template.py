"""Render the template of a card: the template of escoita, or a template of the recipe that changes its blocks."""

import hashlib
import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    FunctionLoader,
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
)
from jinja2.runtime import BlockReference, LoopContext, Macro, TemplateReference
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel

from escoita.cards.front_matter import blocks, marked
from escoita.errors import RecipeError
from escoita.recipe.schema import Recipe
from escoita.resources import resource
from escoita.run_directory import RunDirectory
from escoita.utils import formatting as figures
from escoita.utils import formatting as markdown
from escoita.utils.files import sha256


CARD_TEMPLATE = "adapter.md.jinja"
TEMPLATES = "cards/templates"
# Path in a repository of the template of the recipe.
PUBLISHED_TEMPLATE = "card.md.jinja"
# In bytes; the template of escoita has 13,000.
LARGEST_TEMPLATE = 1_000_000
# The methods that a template may call.
METHODS: dict[type, frozenset[str]] = {
    dict: frozenset({"get", "items", "keys", "values"}),
    str: frozenset(
        {"capitalize", "endswith", "lower", "lstrip", "replace", "rstrip", "split", "startswith", "strip", "upper"}
    ),
}
FILTERS: tuple[Callable[..., str], ...] = (
    markdown.line,
    markdown.prose,
    markdown.link,
    markdown.linked,
    markdown.fenced,
    markdown.code,
    markdown.code_cell,
    figures.thousands,
    figures.percent,
    figures.interval,
    figures.points,
    figures.points_interval,
    figures.speed,
    figures.duration,
    figures.gigabytes,
    figures.kilowatt_hours,
)


def template_files(recipe: Recipe, run: RunDirectory) -> dict[str, bytes]:
    """
    Return the template that a recipe names, by its path in a repository; nothing if the recipe names none.

    It is published for readers. `escoita verify` never renders it.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): Recipe; `card.template` is relative to the current folder.
        run ([`~escoita.run_directory.RunDirectory`]): Run directory; must not contain the template.

    Raises:
        RecipeError: See [`own_template`].
    """
    source = own_template(recipe, run)
    return {} if source is None else {PUBLISHED_TEMPLATE: source.encode()}


def own_template(recipe: Recipe, run: RunDirectory) -> str | None:
    """
    Read the template of a recipe.

    A run directory may have been downloaded, so neither its copy of the template nor a file of another run directory
    is read: the template must be a file of the current checkout.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): Recipe; `card.template` is relative to the current folder.
        run ([`~escoita.run_directory.RunDirectory`]): Run directory of the card.

    Returns:
        `str`: Source of the template, or `None` if the recipe has no template.

    Raises:
        RecipeError: The file cannot be read, is larger than 1 MB, or is not part of the current checkout.
    """
    if not recipe.card.template:
        return None
    named, checkout = recipe.card.template, Path.cwd().resolve()
    path = Path(named).resolve()
    folders = [folder for folder in path.parents if folder != checkout and folder.is_relative_to(checkout)]
    in_run = run.path.resolve() in path.parents or any(RunDirectory(folder).recipe.is_file() for folder in folders)
    if not path.is_relative_to(checkout) or in_run:
        raise RecipeError(
            "not a file of the current checkout (a run directory is not trusted)",
            key="card.template",
            value=named,
            hint="run the command in the checkout with the template",
        )
    try:
        if path.stat().st_size > LARGEST_TEMPLATE:
            raise RecipeError(f"larger than {LARGEST_TEMPLATE:,} bytes", key="card.template", value=named)
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise RecipeError(f"cannot be read ({reason})", key="card.template", value=named) from error


class TemplateMistake(RecipeError):
    """Report a mistake in the template of a recipe, with its line."""


class TextOutsideSections(RecipeError):
    """Report a template of a recipe that writes text outside of the sections."""

    problem = "text outside of the sections"
    hint = (
        'begin with {{% extends "adapter.md.jinja" %}}, or put {{% call section("name") %}} around it, with unique'
        " names in lowercase"
    )


class CardEnvironment(ImmutableSandboxedEnvironment):
    """Restrict Jinja's sandbox to plain data and a few methods of `str` and `dict` that cannot change anything."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return whether a template may read an attribute; everything that is not listed is refused."""
        if isinstance(obj, TemplateReference | BlockReference | Macro | LoopContext):
            return super().is_safe_attribute(obj, attr, value)
        return any(type(obj) is kind and attr in names for kind, names in METHODS.items())

    def wrap_str_format(self, value: Any) -> None:
        """Refuse `str.format`, which Jinja's sandbox would replace by a safe version."""
        return None

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a value of a dictionary before a method of the same name, such as `items`."""
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


@lru_cache(maxsize=8)
def environment(own: str | None = None, name: str = PUBLISHED_TEMPLATE) -> CardEnvironment:
    """
    Return the environment in which templates are rendered.

    Args:
        own (`str`, *optional*): Source of the template of the recipe.
        name (`str`): Name of this template in error messages.
    """
    package = FileSystemLoader(resource(TEMPLATES))
    custom = FunctionLoader(lambda path: (own, name, None) if path == PUBLISHED_TEMPLATE and own is not None else None)
    created = CardEnvironment(
        loader=package if own is None else ChoiceLoader([custom, package]),
        undefined=StrictUndefined,
        autoescape=False,  # S701: Markdown, not HTML; every value passes a filter of escoita.utils.formatting
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    created.filters["tojson"] = literal
    created.filters |= {function.__name__: function for function in FILTERS}
    created.globals = {"section": lambda section, caller: (text := marked(section, caller())) and f"{text}\n"}
    return created


def released_environment(version: str) -> Environment:
    """
    Return the environment with the templates of a released version. A template that has not changed since is read
    from the current ones, and a template extends one of the same version.

    Args:
        version (`str`): Version in `released.json`.
    """
    templates = resource(TEMPLATES)
    return environment().overlay(loader=FileSystemLoader([templates / "released" / version, templates]))


def literal(value: object) -> str:
    """
    Write a string literal that is valid in JSON and Python: without the HTML escapes of `<` and `>`, and not as ASCII,
    because Python does not join surrogate pairs. No HTML comment can begin in it, because these mark the sections.
    """
    return json.dumps(value, ensure_ascii=False).replace("<!--", "\\u003c!--")


@lru_cache(maxsize=1)
def template_digest() -> str:
    """Return the SHA-256 over the names and contents of all templates that write a card: card and code snippets."""
    folder, digest = resource(TEMPLATES), hashlib.sha256()
    for path in sorted([folder / CARD_TEMPLATE, *(folder / "snippets").iterdir()]):
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()


def released_templates() -> dict[str, str]:
    """Return the digest of the templates of each released version, as [`template_digest`] computes it."""
    released = json.loads((resource(TEMPLATES) / "released.json").read_text("utf-8"))
    return {version: each["digest"] for version, each in released.items()}


def plain(value: Any) -> Any:
    """
    Convert a value to plain data, the only data that a template gets: `dict`, `list`, `str`, `int`, `float`, `bool`
    and `None`. No object with methods that act on files, processes or other objects can be reached from these.

    Args:
        value: Plain data, a pydantic model, a dataclass, a mapping, a sequence, or a YAML date.

    Raises:
        TypeError: The value is of another type; it must be converted before.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a template cannot get a value of type {type(value).__name__}")


def render(values: Mapping[str, Any], own: str | None = None, name: str = PUBLISHED_TEMPLATE) -> str:
    """
    Render the body of a card.

    Args:
        values (`Mapping[str, Any]`): The values that the template may show; they are converted by [`plain`].
        own (`str`, *optional*): Source of the template of the recipe; default: the template of escoita.
        name (`str`): Name of this template in error messages.

    Raises:
        TemplateMistake: The template of the recipe has a mistake.
        TextOutsideSections: The template of the recipe writes text outside of the sections.
    """
    values = plain(values)
    if own is None:
        return environment().get_template(CARD_TEMPLATE).render(values)
    try:
        body = environment(own, name).get_template(PUBLISHED_TEMPLATE).render(values)
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
        if isinstance(error, TemplateSyntaxError):
            lines = [error.lineno] if error.filename == name else []
        elif isinstance(error, TemplateError):
            lines = lines or [1]
        if not lines:  # a defect of the template of escoita
            raise
        problem = " ".join(str(error).split()) or type(error).__name__
        raise TemplateMistake(problem, path=name, row=lines[-1]) from error
    outside = body
    for block in reversed(blocks(body)):
        outside = outside[: block.start] + outside[block.end :]
    if text := outside.strip():  # as text of the author, it would not be updated with the figures
        raise TextOutsideSections(path=name, value=repr(text.splitlines()[0][:60]))
    return body
