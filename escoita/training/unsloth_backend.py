"""Load base and adapter with Unsloth; this module imports Unsloth and must be imported before transformers."""

import os
from typing import TYPE_CHECKING, Any

from escoita.errors import RecipeError
from escoita.models.families import FAMILIES
from escoita.recipe.schema import Lora, Recipe
from escoita.utils.files import cache_folder


# Unsloth downloads a file from the Hub to count its users; training must use the network only for the base.
os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
# By default Unsloth writes generated code into the current folder.
os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(cache_folder() / "unsloth"))

from unsloth import FastModel  # noqa: E402 after the variables are set


if TYPE_CHECKING:
    from escoita.models.trainable import TrainableFamily


def load_with_adapter(recipe: Recipe, family: "TrainableFamily") -> Any:
    """
    Load the base and add the recipe's adapter.

    The recipe selects layers by a regular expression, which Unsloth passes unchanged to PEFT; with a list of names,
    Unsloth would leave the audio tower out. The adapter therefore has the same layout as one made by PEFT.

    Args:
        recipe ([`Recipe`]): A recipe with the method [`Lora`].
        family ([`TrainableFamily`]): The family of the base.

    Returns:
        `PeftModel`: The model, ready for training.

    Raises:
        EscoitaError: Unsloth is not supported for this family, or the base is stored in another precision.
    """
    import torch

    from escoita.models.loading import any_spelling, check_four_bit, check_precision, stored_quantization

    method = recipe.method
    if not family.info.unsloth or not isinstance(method, Lora):
        tested = ", ".join(info.name for info in FAMILIES if info.unsloth)
        problem = f"only tested with low-rank adapters of {tested}"
        raise RecipeError(problem, key="engine", value="unsloth", hint="set engine: transformers")
    check_precision(recipe.base, stored_quantization(recipe.base, recipe.base_revision), recipe.load_in_4bit)
    seed = recipe.training.get("seed", 42)
    # Unsloth has its own gradient checkpointing, which must be set for trainer and model.
    checkpointing = "unsloth" if recipe.training.get("gradient_checkpointing", True) else False
    length = recipe.training.get("max_length", 1024) or 8192  # 1024 is TRL's default; null means no limit
    with any_spelling():
        model, _ = FastModel.from_pretrained(
            recipe.base,
            revision=recipe.base_revision,
            max_seq_length=length,
            dtype=None if recipe.dtype == "auto" else getattr(torch, recipe.dtype),
            load_in_4bit=recipe.load_in_4bit,
            load_in_16bit=not recipe.load_in_4bit,
            use_gradient_checkpointing=checkpointing,
            use_exact_model_name=True,  # otherwise Unsloth may load another repository than the recorded one
            random_state=seed,
        )
    if recipe.load_in_4bit:
        check_four_bit(recipe.base, model, family.unquantized_modules)
    return FastModel.get_peft_model(
        model,
        **method.model_dump(exclude={"kind", "trainable"}),
        use_gradient_checkpointing=checkpointing,
        random_state=seed,
        max_seq_length=length,
    )
