"""Base and adapter as Unsloth makes them; importing this imports Unsloth, which must come before transformers."""

import os
from typing import TYPE_CHECKING, Any

from escoita.errors import RecipeError
from escoita.models.families import FAMILIES
from escoita.recipe.schema import Lora, Recipe
from escoita.utils.files import cache_folder


# Unsloth fetches a file of the Hub to count its users; training is to touch the network for the base alone.
os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
# It writes the code that it generates into the current folder unless told where.
os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(cache_folder() / "unsloth"))

from unsloth import FastModel  # noqa: E402 after its settings


if TYPE_CHECKING:
    from escoita.models.chat import ChatFamily


def load_with_adapter(recipe: Recipe, family: "ChatFamily") -> Any:
    """
    Loads the base and puts the recipe's adapter on it.

    The layers are chosen by the recipe's one regular expression, which Unsloth hands to PEFT as it is: with a list of
    names it would leave the audio tower out. So the adapter has the layout that plain PEFT makes and loads.

    Args:
        recipe ([`Recipe`]): Its method is [`Lora`].
        family ([`ChatFamily`]): Of the base.

    Returns:
        `PeftModel`: Ready to train.

    Raises:
        EscoitaError: Unsloth does not serve this family here, or the base is stored in another precision.
    """
    import torch

    from escoita.models.loading import any_spelling, check_four_bit, check_precision, stored_quantization

    method = recipe.method
    if not family.info.unsloth or not isinstance(method, Lora):
        tried = ", ".join(info.name for info in FAMILIES if info.unsloth)
        raise RecipeError(f"engine: unsloth was tried with {tried} alone; use engine: transformers")
    check_precision(recipe.base, stored_quantization(recipe.base, recipe.base_revision), recipe.load_in_4bit)
    seed = recipe.training.get("seed", 42)
    # Unsloth has a way of its own to checkpoint gradients; both trainer and model have to be told.
    checkpointing = "unsloth" if recipe.training.get("gradient_checkpointing", True) else False
    length = recipe.training.get("max_length", 1024) or 8192  # TRL's default; null is no limit
    with any_spelling():
        model, _ = FastModel.from_pretrained(
            recipe.base,
            revision=recipe.base_revision,
            max_seq_length=length,
            dtype=None if recipe.dtype == "auto" else getattr(torch, recipe.dtype),
            load_in_4bit=recipe.load_in_4bit,
            load_in_16bit=not recipe.load_in_4bit,
            use_gradient_checkpointing=checkpointing,
            use_exact_model_name=True,  # otherwise it may take another repository than the one that records name
            random_state=seed,
        )
    if recipe.load_in_4bit:
        check_four_bit(recipe.base, model, family.whole_in_4bit)
    return FastModel.get_peft_model(
        model,
        **method.model_dump(exclude={"kind", "trainable"}),
        use_gradient_checkpointing=checkpointing,
        random_state=seed,
        max_seq_length=length,
    )
