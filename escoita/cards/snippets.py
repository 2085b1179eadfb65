"""Write the code snippets of a card: with escoita, with Unsloth, and with Transformers and PEFT only."""

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
    Represent a code snippet.

    Args:
        title (`str`): Libraries and their installation, as Markdown.
        code (`str`): Python code.
    """

    title: str
    code: str


def snippets(recipe: Recipe, training: TrainingRecord, base: str, adapter: str) -> list[Snippet]:
    """
    Return the snippets of a card.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): Recipe with the prompt and the limits.
        training ([`~escoita.records.training.TrainingRecord`]): Training record with engine, family and base commit.
        base (`str`): Folder or repository of the base.
        adapter (`str`): Folder or repository of the adapter.

    Returns:
        `list[Snippet]`: Snippets, the shortest first. Those without escoita exist only for families with a tested
            snippet.
    """
    info = BY_MODEL_TYPE.get(training.family)
    title = "With escoita, which splits long recordings and reads all common audio formats"
    titles = {"escoita": f"{title} (install escoita from its repository)"}
    if info and info.unsloth and training.engine == "unsloth":
        titles[f"unsloth_{info.snippet}"] = "With Unsloth, as in training (`pip install unsloth soundfile soxr`)"
    if info and info.snippet:
        titles[info.snippet] = "With Transformers and PEFT (`pip install transformers peft accelerate soundfile soxr`)"
    return [
        Snippet(title, code)
        for name, title in titles.items()
        if (code := _rendered(f"snippets/{name}.py.jinja", _values(recipe, training, base, adapter)))
    ]


def released_code(recipe: Recipe, training: TrainingRecord, base: str, adapter: str) -> set[str]:
    """
    Return the snippets that released versions of escoita write for an adapter. The templates of a version that have
    changed since are stored in `templates/released/VERSION/`.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): Recipe with the prompt and the limits.
        training ([`~escoita.records.training.TrainingRecord`]): Training record with engine, family and base commit.
        base (`str`): Folder or repository of the base.
        adapter (`str`): Folder or repository of the adapter.
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
    """Render a snippet with the current templates or those of a released version; empty if there is no template."""
    templates = environment() if version is None else released_environment(version)
    return templates.get_template(name).render(plain(values)).strip() if name in templates.list_templates() else ""


def _values(recipe: Recipe, training: TrainingRecord, base: str, adapter: str) -> dict[str, Any]:
    return {
        "base": base,
        "revision": base_revision(recipe, training),
        "adapter": adapter,
        "dtype": recipe.dtype,
        "prompt": recipe.prompt,
        "language_token": training.language_token,
        "max_new_tokens": recipe.eval.max_new_tokens,
        "max_length": recipe.training.get("max_length") or 8192,
        "load_in_4bit": recipe.load_in_4bit,
    }
