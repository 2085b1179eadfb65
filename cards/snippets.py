"""How an adapter is used, as code to copy: with escoita, with Unsloth, with Transformers and PEFT alone."""

from dataclasses import dataclass

from cards.template import environment
from escoita.recipe import Recipe
from escoita.records import TrainingRecord


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
        recipe ([`~escoita.recipe.Recipe`]): Prompt, limits, revision of the base.
        training ([`~escoita.records.TrainingRecord`]): Engine and family.
        base (`str`): Folder or repository of the base.
        adapter (`str`): The same of the adapter.

    Returns:
        `list[Snippet]`: The shortest first. Without escoita only for the families of which one was run: others need
            packages or turns of their own, which escoita spares its users.
    """
    wanted = {
        "escoita": "With escoita, which cuts long recordings and reads any format (install it from its repository)",
        "unsloth_" + training.family: "With Unsloth, as it was trained (`pip install unsloth soundfile`)",
        training.family: "With Transformers and PEFT alone (`pip install transformers peft accelerate soundfile`)",
    }
    if training.engine != "unsloth":
        del wanted["unsloth_" + training.family]
    made = environment()
    known = set(made.list_templates())
    values = {
        "base": base,
        "revision": recipe.base_revision,
        "adapter": adapter,
        "prompt": recipe.prompt,
        "max_new_tokens": recipe.eval.max_new_tokens,
        "max_length": recipe.training.get("max_length") or 8192,
        "load_in_4bit": recipe.load_in_4bit,
    }
    return [
        Snippet(title, made.get_template(path).render(values).strip())
        for name, title in wanted.items()
        if (path := f"snippets/{name}.py.jinja") in known
    ]
