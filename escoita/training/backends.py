"""Load the base and put the adapter on it, with Transformers and PEFT or with Unsloth."""

import sys
from typing import TYPE_CHECKING, Any

import torch

from escoita.errors import RecipeError, TrainingError
from escoita.recipe.schema import Modules, Recipe


if TYPE_CHECKING:
    from peft import PeftConfig

    from escoita.models.trainable import TrainableFamily


def prepare_precision(model: torch.nn.Module) -> None:
    """
    Convert the trained parameters to float32, after the adapter is added and before the optimizer is created.

    Half precision is too coarse for updates with small learning rates, and the gradient scaler of fp16 refuses fp16
    gradients ("Attempting to unscale FP16 gradients"). PEFT converts low-rank matrices, but not fully trained modules.

    Args:
        model (`torch.nn.Module`): The model, which is changed in place; frozen parameters stay as they are.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.float()


# Packages that Unsloth patches when it is imported.
PATCHED = ("transformers", "trl", "peft")


class ImportOrderError(TrainingError):
    """
    Report that a package was imported before Unsloth, which patches it.

    Args:
        package (`str`): The package that was imported too early.
    """

    package: str
    problem = "unsloth must be imported before {package}"
    hint = "import unsloth first, or use the command escoita train"


def import_first(recipe: Recipe) -> None:
    """
    Import Unsloth before transformers if the recipe uses it.

    Raises:
        RecipeError: Unsloth does not support the recipe's method.
        TrainingError: Unsloth is not installed, finds no GPU, or was imported too late.
    """
    if recipe.engine != "unsloth":
        return
    if isinstance(recipe.method, Modules):
        raise RecipeError(
            "only low-rank adapters are supported",
            key="engine",
            value="unsloth",
            hint="set engine: transformers to train kind: modules",
        )
    if "unsloth" in sys.modules:
        return
    early = [name for name in PATCHED if name in sys.modules]
    if early:
        raise ImportOrderError(key="engine", value="unsloth", package=early[0])
    try:
        import escoita.training.unsloth_backend  # noqa: F401 the import patches transformers
    except (ImportError, NotImplementedError) as error:  # NotImplementedError is raised without a GPU
        problem, hint = " ".join(str(error).split()), None
        if isinstance(error, ModuleNotFoundError) and error.name == "unsloth":
            problem, hint = "not installed", "run pip install 'escoita[unsloth]'"
        raise TrainingError(problem, key="engine", value="unsloth", hint=hint) from error


def load_for_training(
    recipe: Recipe, family: "TrainableFamily", processor: Any = None
) -> tuple[Any, "PeftConfig | None"]:
    """
    Load the base and, with Unsloth, add the adapter.

    Args:
        recipe ([`Recipe`]): The recipe, with base, precision and method.
        family ([`TrainableFamily`]): The family of the base.
        processor (`ProcessorMixin`, *optional*): The processor of the training, for a family whose adapters have their
            own vocabulary.

    Returns:
        `tuple`: The model, and the configuration of the adapter that SFTTrainer adds; `None` with Unsloth, whose model
        has the adapter already.

    Raises:
        EscoitaError: The base cannot be loaded.
    """
    if recipe.engine == "unsloth":
        from escoita.training.unsloth_backend import load_with_adapter

        return load_with_adapter(recipe, family), None
    from escoita.training.arguments import adapter_config

    model = family.load_model(recipe.base, recipe.base_revision, recipe.dtype, load_in_4bit=recipe.load_in_4bit)
    if processor is not None:
        settings = family.resolved_settings(processor, recipe.generation_settings())
        family.load_initial_weights(model, settings)
        family.prepare_for_training(model, processor)
    return model, adapter_config(recipe, family)


def untrained(recipe: Recipe, processor: Any = None) -> Any:
    """
    Return the model with its adapter on the meta device, without weights, to count parameters.

    Args:
        recipe ([`Recipe`]): The recipe, with base and method.
        processor (`ProcessorMixin`, *optional*): See [`load_for_training`].

    Raises:
        TrainingError: The base has no layers that the method names, or PEFT does not support them.
    """
    from peft import get_peft_model

    from escoita.models import family_of
    from escoita.training.arguments import adapter_config

    family = family_of(recipe.base, recipe.base_revision)
    with torch.device("meta"):
        model = family.empty_model(recipe.base, recipe.base_revision)
        if processor is not None:
            family.prepare_for_training(model, processor)
        try:
            return get_peft_model(model, adapter_config(recipe, family))
        except ValueError as error:  # PEFT names the targets that it does not find or support
            reason = " ".join(str(error).split())[:300]
            raise TrainingError(f"the adapter cannot be added to the base: {reason}", key="method") from error
