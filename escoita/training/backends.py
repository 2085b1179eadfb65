"""Load the base and put the adapter on it, with Transformers and PEFT or with Unsloth."""

import re
import sys
from typing import TYPE_CHECKING, Any

import torch

from escoita.errors import RecipeError, TrainingError
from escoita.recipe.schema import LISTED, Lora, Modules, Recipe


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


class ListedLayersError(RecipeError):
    """
    Report a list of layers that does not reach exactly what it says.

    Args:
        names (`tuple[str, ...]`): The names in the list that reach no linear layer, or other layers, too.
        expression (`str`): The regular expression to use instead.
    """

    names: tuple[str, ...]
    expression: str
    hint = "write one regular expression: '{expression}'"


def check_listed_layers(recipe: Recipe, model: torch.nn.Module, family: "TrainableFamily") -> None:
    """
    Check that each name of a list in `method.target_modules` reaches linear layers, and nothing else.

    Args:
        recipe ([`Recipe`]): The recipe; an expression that is not made of a list is not checked.
        model (`torch.nn.Module`): The model of the base, without its adapter.
        family ([`TrainableFamily`]): The family of the base.

    Raises:
        ListedLayersError: A name reaches no layer, or a module that is not a linear layer, such as a wrapped one; or
            the recipe uses Unsloth, which leaves the audio tower out for a list.
    """
    if not isinstance(recipe.method, Lora) or not recipe.method.target_modules.startswith(LISTED):
        return
    expression = recipe.method.target_modules
    reached: dict[str, set[bool]] = {}
    for name, module in model.named_modules():
        if re.fullmatch(expression, name):
            reached.setdefault(name.rpartition(".")[2], set()).add(isinstance(module, torch.nn.Linear))
    names = re.sub(r"\\(.)", r"\1", expression.removeprefix(LISTED).strip("()")).split("|")
    last = {name: reached.get(name.rpartition(".")[2], set()) for name in names}
    absent = tuple(name for name, found in last.items() if not found)
    mixed = tuple(name for name, found in last.items() if False in found)
    given: dict[str, Any] = {"key": "method.target_modules", "expression": family.info.target_modules or expression}
    if absent:
        problem = f"no layer of this base is named {' or '.join(absent)}"
        raise ListedLayersError(problem, names=absent, **given)
    if mixed:
        problem = f"{', '.join(mixed)} also names modules that are not linear layers, on which PEFT puts no adapter"
        raise ListedLayersError(problem, names=mixed, **given)
    if recipe.engine == "unsloth":
        problem = "Unsloth leaves the audio tower out for a list of names"
        raise ListedLayersError(problem, names=tuple(names), **given)


def untrained(recipe: Recipe, processor: Any = None) -> Any:
    """
    Return the model with its adapter on the meta device, without weights, to count parameters.

    Args:
        recipe ([`Recipe`]): The recipe, with base and method.
        processor (`ProcessorMixin`, *optional*): See [`load_for_training`].

    Raises:
        ListedLayersError: A list of layers does not reach exactly what it says.
        TrainingError: The base has no layers that the method names, or PEFT does not support them.
    """
    from peft import get_peft_model

    from escoita.models import family_of
    from escoita.training.arguments import adapter_config

    family = family_of(recipe.base, recipe.base_revision)
    with torch.device("meta"):
        model = family.empty_model(recipe.base, recipe.base_revision)
        check_listed_layers(recipe, model, family)
        if processor is not None:
            family.prepare_for_training(model, processor)
        try:
            return get_peft_model(model, adapter_config(recipe, family))
        except ValueError as error:  # PEFT names the targets that it does not find or support
            reason = " ".join(str(error).split())[:300]
            raise TrainingError(f"the adapter cannot be added to the base: {reason}", key="method") from error
