"""The template of a card: ours, or one of the recipe that changes blocks of it."""

import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FunctionLoader, PackageLoader, StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cards.blocks import blocks, marked
from escoita import figures, markdown
from escoita.errors import RecipeError, RecordError
from escoita.files import write_atomically
from escoita.recipe import Recipe
from escoita.rundir import RunDirectory


OURS = "adapter.md.jinja"
# What a run keeps of the template that its recipe names, and what is published of it.
KEPT = "card.md.jinja"
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
    The template that a recipe names, by its path in a run and in a repository, so that a stranger can make the same
    card; nothing where it names none.

    Args:
        recipe ([`~escoita.recipe.Recipe`]): `card.template` is relative to where the command runs.
        run ([`~escoita.rundir.RunDirectory`]): Its copy of before stands where the file is not at hand.

    Raises:
        RecipeError: The file cannot be read, and the run holds no copy.
    """
    if not recipe.card.template:
        return {}
    source = Path(recipe.card.template)
    try:
        return {KEPT: source.read_text("utf-8").encode()}
    except (OSError, UnicodeDecodeError) as error:
        if (run.path / KEPT).is_file():
            return {KEPT: (run.path / KEPT).read_bytes()}
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise RecipeError(f"card.template: {source} cannot be read ({reason}), from where the command runs") from error


def keep_template(recipe: Recipe, run: RunDirectory) -> None:
    """Copies the template that a recipe names into the run, as [`template_files`] finds it."""
    for name, content in template_files(recipe, run).items():
        write_atomically(run.path / name, content)


def kept_template(run: RunDirectory) -> str:
    """
    The template that a run keeps. The file that its recipe names is not looked for: the recipe may be a stranger's.

    Raises:
        RecordError: It keeps none.
    """
    try:
        return (run.path / KEPT).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(
            f"{run.path / KEPT}: no such template, which the recipe names; escoita card copies it"
        ) from error


@lru_cache(maxsize=8)
def environment(own: str | None = None, name: str = KEPT) -> ImmutableSandboxedEnvironment:
    """
    What templates are rendered in: no value can be changed, and none that begins with an underscore be read.

    Args:
        own (`str`, *optional*): Source of the recipe's template.
        name (`str`): What errors call it.
    """
    package = PackageLoader("cards")
    wanted = FunctionLoader(lambda asked: (own, name, None) if asked == KEPT and own is not None else None)
    made = ImmutableSandboxedEnvironment(
        loader=package if own is None else ChoiceLoader([wanted, package]),
        undefined=StrictUndefined,
        autoescape=False,  # S701: Markdown, not HTML; every value passes a filter of escoita.markdown
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["tojson"] = literal
    made.filters |= {function.__name__: function for function in FILTERS}
    made.globals["section"] = lambda section, caller: (text := marked(section, caller())) and f"{text}\n"
    return made


def literal(value: object) -> str:
    """
    A string as JSON and Python both write it. Not as HTML, which would escape < and >; and not as ASCII, as Python
    reads no pairs of surrogates. A comment of HTML cannot begin in it: that is how blocks of a card are marked.
    """
    return json.dumps(value, ensure_ascii=False).replace("<!--", "\\u003c!--")


def render(recipe: Recipe, run: RunDirectory, values: Mapping[str, Any]) -> str:
    """
    Renders the body of a card.

    Args:
        recipe ([`~escoita.recipe.Recipe`]): Says which template.
        run ([`~escoita.rundir.RunDirectory`]): Keeps it.
        values (`Mapping[str, Any]`): What the template may show.

    Raises:
        RecipeError: The recipe's template has a mistake; names file and line. Or it writes outside of the sections.
        RecordError: The run keeps no copy of it.
    """
    if not recipe.card.template:
        return environment().get_template(OURS).render(values)
    own = kept_template(run)
    with mistakes_of(recipe.card.template):
        body = environment(own, recipe.card.template).get_template(KEPT).render(values)
    outside = body
    for block in reversed(blocks(body)):
        outside = outside[: block.start] + outside[block.end :]
    if lost := outside.strip():  # taken for a person's text, it would stay as it is when the figures change
        raise RecipeError(
            f"{recipe.card.template}: {lost.splitlines()[0][:60]!r} stands outside of the sections; begin with"
            ' {% extends "adapter.md.jinja" %}, or write {% call section("name") %} around it, each name once and in'
            " small letters"
        )
    return body


@contextmanager
def mistakes_of(name: str) -> Iterator[None]:
    """
    Says in one line what is wrong with the recipe's template. What fails in ours alone is our defect.

    Args:
        name (`str`): What the template is called.

    Raises:
        RecipeError: With file and line.
    """
    try:
        yield
    except TemplateSyntaxError as error:
        if error.filename != name:
            raise
        raise RecipeError(f"{name}, line {error.lineno}: {_said(error)}") from error
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
        if not lines and not isinstance(error, TemplateError):
            raise
        raise RecipeError(f"{name}, line {lines[-1] if lines else 1}: {_said(error)}") from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
