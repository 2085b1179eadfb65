"""A base and the adapter that was trained for it."""

import warnings
from collections import Counter
from typing import Any

from escoita.errors import EscoitaError
from escoita.resolve import hub_errors, local_file


def merged(model: Any, adapter: str) -> Any:
    """
    Merges an adapter into a base, which then answers as fast as before.

    Into a base in 4 bits it is not merged: rounded to 4 bits again, the sum would be another model than was trained.
    Nor is it where two layers share a weight and it changes one of them.

    Args:
        model: The base, loaded.
        adapter (`str`): A folder, or a repository of the Hub; low-rank matrices, or modules that were trained whole.

    Returns:
        The base with the adapter in it; where it is not merged, [`PeftModel`] with the adapter on it.

    Raises:
        EscoitaError: There is no such adapter, or it is not one for this base.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    path = local_file(adapter, "adapter_model.safetensors")  # without it PEFT would read a pickle
    try:
        with hub_errors(f"adapter {adapter}"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found missing adapter keys")  # counted below
            model = PeftModel.from_pretrained(model, adapter, torch_device=str(model.device))
    except (RuntimeError, ValueError, KeyError) as error:
        # A KeyError names a weight of a module that was trained whole and is not there.
        reason = f"it holds no {error.args[0]}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise EscoitaError(f"adapter {adapter}: does not fit this base ({reason})") from error
    with safe_open(path, "pt") as weights:
        held = set(weights.keys())
    # PEFT passes over what it does not know, and what is missing stays zero: the base would answer alone. An adapter
    # may hold the base's embeddings too; unless told, PEFT asks the Hub if they have grown.
    needed, allowed = (set(get_peft_model_state_dict(model, save_embedding_layers=more)) for more in (False, True))
    astray = (needed - held) | (held - allowed)
    if astray:
        raise EscoitaError(f"adapter {adapter}: does not fit this base ({len(astray)} weights find no place)")
    in_4bit = getattr(model.base_model.model, "is_loaded_in_4bit", False)
    return (model if in_4bit or on_shared_weight(model) else model.merge_and_unload()).eval()


def on_shared_weight(model: Any) -> bool:
    """Whether low-rank matrices stand on a weight that two layers use, such as a head that is the embeddings too."""
    from peft.tuners.lora import LoraLayer

    uses = Counter(id(weight) for _, weight in model.named_parameters(remove_duplicate=False))
    layers = (layer.get_base_layer() for layer in model.modules() if isinstance(layer, LoraLayer))
    return any(uses[id(layer.weight)] > 1 for layer in layers)
