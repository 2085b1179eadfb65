"""How an adapter is used, as code to copy: with escoita, with Unsloth, with Transformers and PEFT alone."""

from dataclasses import dataclass
from typing import Any

from escoita.cards.published_base import base_revision
from escoita.cards.template import environment, plain, released_environment, released_templates
from escoita.models.families import BY_MODEL_TYPE
from escoita.recipe.schema import Recipe
from escoita.records.training import TrainingRecord


@dataclass(frozen=True)
class Snippet:
    """
    A way to use an adapter.

    Args:
        title (`str`): With what, as Markdown.
        code (`str`): Python.
    """

    title: str
    code: str


def snippets(recipe: Recipe, training: TrainingRecord, base: str, adapter: str) -> list[Snippet]:
    """
    The snippets of a card.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): Prompt, limits.
        training ([`~escoita.records.training.TrainingRecord`]): Engine, family, commit of the base.
        base (`str`): Folder or repository of the base.
        adapter (`str`): The same of the adapter.

    Returns:
        `list[Snippet]`: The shortest first. Without escoita only for the families of which one was run: others need
            packages or turns of their own, which escoita spares its users.
    """
    info = BY_MODEL_TYPE.get(training.family)
    wanted = {
        "escoita": "With escoita, which cuts long recordings and reads any format (install it from its repository)"
    }
    if info and info.unsloth and training.engine == "unsloth":
        wanted[f"unsloth_{info.snippet}"] = "With Unsloth, as it was trained (`pip install unsloth soundfile soxr`)"
    if info and info.snippet:
        wanted[info.snippet] = "With Transformers and PEFT (`pip install transformers peft accelerate soundfile soxr`)"
    return [
        Snippet(title, code)
        for name, title in wanted.items()
        if (code := _rendered(f"snippets/{name}.py.jinja", _values(recipe, training, base, adapter)))
    ]


def released_code(recipe: Recipe, training: TrainingRecord, base: str, adapter: str) -> set[str]:
    """
    Return the snippets that released versions of escoita write for an adapter. Templates that have changed since a
    version are kept in `templates/released/VERSION/`.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): Prompt, limits.
        training ([`~escoita.records.training.TrainingRecord`]): Engine, family, commit of the base.
        base (`str`): Folder or repository of the base.
        adapter (`str`): The same of the adapter.
    """
    values = _values(recipe, training, base, adapter)
    info = BY_MODEL_TYPE.get(training.family)
    kinds = ["escoita"]
    if info and info.snippet:
        kinds += [info.snippet, f"unsloth_{info.snippet}"]
    return {
        _rendered(f"snippets/{kind}.py.jinja", values, version) for version in released_templates() for kind in kinds
    }


def _rendered(name: str, values: dict[str, Any], version: str | None = None) -> str:
    """Return a snippet of today's templates or of those of a released version, or nothing if there is none."""
    made = environment() if version is None else released_environment(version)
    return made.get_template(name).render(plain(values)).strip() if name in made.list_templates() else ""


def _values(recipe: Recipe, training: TrainingRecord, base: str, adapter: str) -> dict[str, Any]:
    return {
        "base": base,
        "revision": base_revision(recipe, training),
        "adapter": adapter,
        "dtype": recipe.dtype,
        "prompt": recipe.prompt,
        "max_new_tokens": recipe.eval.max_new_tokens,
        "max_length": recipe.training.get("max_length") or 8192,
        "load_in_4bit": recipe.load_in_4bit,
    }
