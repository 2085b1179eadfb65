"""What a recipe asks of training, told also where SFTConfig refuses it on this machine."""

from contextlib import suppress
from typing import Any

from escoita.errors import RecipeError
from escoita.recipe.recipe import Recipe


def asked(recipe: Recipe, key: str) -> Any:
    """A field of the training section, or what TRL takes unless it is given, or given as what it cannot be."""
    from escoita.training.arguments import trl_defaults, typed

    if key in recipe.training:
        with suppress(RecipeError):  # told once, where SFTConfig is looked at
            return typed(key, recipe.training[key])
    return trl_defaults()[key]


def precision(recipe: Recipe) -> str:
    """`bf16`, `fp16` or `float32`: of the products."""
    from escoita.training.arguments import bf16_by_default

    half = {key: asked(recipe, key) for key in ("fp16", "bf16", "use_cpu")}
    if half["fp16"]:
        return "fp16"
    wanted = bf16_by_default(recipe, half) if half["bf16"] is None else half["bf16"]
    return "bf16" if wanted else "float32"
