"""Load the base and put the adapter on it, with Transformers and PEFT or with Unsloth."""

import sys
from typing import TYPE_CHECKING, Any

import torch

from escoita.errors import RecipeError, TrainingError
from escoita.recipe.schema import Modules, Recipe


if TYPE_CHECKING:
    from peft import PeftConfig

    from escoita.models.chat import ChatFamily


def prepare_precision(model: torch.nn.Module) -> None:
    """
    Makes what is trained float32, once the adapter is on and before there is an optimizer; what is frozen stays.

    A step of half precision is too coarse for small learning rates, and the gradient scaler of fp16 refuses gradients
    in fp16 ("Attempting to unscale FP16 gradients"). PEFT does so for low-rank matrices, but not for modules that are
    trained whole.

    Args:
        model (`torch.nn.Module`): Changed in place.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.float()


# Unsloth rewrites these when it is imported.
REWRITTEN = ("transformers", "trl", "peft")


def import_first(recipe: Recipe) -> None:
    """
    Imports what must be imported before transformers: Unsloth, where the recipe asks for it.

    Raises:
        RecipeError: Unsloth cannot train by the recipe's method.
        TrainingError: Unsloth is not installed, finds no GPU, or something else was imported before it.
    """
    if recipe.engine != "unsloth":
        return
    if isinstance(recipe.method, Modules):
        raise RecipeError("engine: unsloth trains low-rank adapters; kind: modules needs engine: transformers")
    if "unsloth" in sys.modules:
        return
    early = [name for name in REWRITTEN if name in sys.modules]
    if early:
        raise TrainingError(
            f"engine: unsloth rewrites {early[0]}, which is imported already; import unsloth first, or use the command"
        )
    try:
        import escoita.training.unsloth_backend  # noqa: F401 its import is what is asked for
    except (ImportError, NotImplementedError) as error:  # the latter is what it says without a GPU
        if isinstance(error, ModuleNotFoundError) and error.name == "unsloth":
            raise TrainingError("engine: unsloth is not installed: pip install 'escoita[unsloth]'") from error
        raise TrainingError(f"engine: unsloth: {' '.join(str(error).split())}") from error


def load_for_training(recipe: Recipe, family: "ChatFamily") -> tuple[Any, "PeftConfig | None"]:
    """
    Loads the base, and says what is left to do.

    Args:
        recipe ([`Recipe`]): Which base, in which precision, with which adapter.
        family ([`ChatFamily`]): Of the base.

    Returns:
        `tuple`: The model, and the configuration of the adapter that SFTTrainer is to put on it; with Unsloth the
        adapter is on the model already, and there is none.

    Raises:
        EscoitaError: The base cannot be loaded as asked for.
    """
    if recipe.engine == "unsloth":
        from escoita.training.unsloth_backend import load_with_adapter

        return load_with_adapter(recipe, family), None
    from escoita.training.arguments import peft_config

    model = family.load_model(recipe.base, recipe.base_revision, recipe.dtype, load_in_4bit=recipe.load_in_4bit)
    return model, peft_config(recipe)


def untrained(recipe: Recipe) -> Any:
    """
    The model with its adapter, without weights: for counting.

    Raises:
        TrainingError: The base has no layers that the method names, or none that it takes.
    """
    from peft import get_peft_model

    from escoita.models import family_of
    from escoita.training.arguments import peft_config

    family = family_of(recipe.base, recipe.base_revision)
    with torch.device("meta"):
        model = family.empty_model(recipe.base, recipe.base_revision)
        try:
            return get_peft_model(model, peft_config(recipe))
        except ValueError as error:  # PEFT names targets that it does not find or take
            reason = " ".join(str(error).split())[:300]
            raise TrainingError(f"method: the adapter cannot be put on the base: {reason}") from error
