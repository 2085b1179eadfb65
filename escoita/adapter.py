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
        EscoitaError: See [`attached`].
    """
    model = attached(model, adapter)
    in_4bit = getattr(model.base_model.model, "is_loaded_in_4bit", False)
    return (model if in_4bit or on_shared_weight(model) else model.merge_and_unload()).eval()


def attached(model: Any, adapter: str, base_kept: bool = False) -> Any:
    """
    Puts an adapter on a base, all of it and nothing else.

    Args:
        model: The base, loaded; modules of it are replaced, also where the adapter is then refused, but none of its
            weights is written to before it is known that the adapter fits.
        adapter (`str`): A folder, or a repository of the Hub.
        base_kept (`bool`, *optional*, defaults to `False`): Refuse an adapter that holds weights of the base itself
            which are not as they are here: embeddings, which may be saved beside low-rank matrices.

    Returns:
        [`PeftModel`]: The base with the adapter on it.

    Raises:
        EscoitaError: There is no such adapter, or it is not one for this base.
    """
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
    from safetensors import safe_open
    from torch import equal

    path = local_file(adapter, "adapter_model.safetensors")  # without it PEFT would read a pickle
    try:
        with hub_errors(f"adapter {adapter}"), warnings.catch_warnings(), safe_open(path, "pt") as weights:
            warnings.filterwarnings("ignore", message=".*base_model_name_or_path.*")  # it may lie elsewhere now
            config = PeftConfig.from_pretrained(adapter)
            config.inference_mode = True
            model = get_peft_model(model, config)
            # Of what it does not know PEFT says nothing, what is missing stays zero, and what has the name of a weight
            # of the base would be written into it. An adapter may hold the base's embeddings too; unless told, PEFT
            # asks the Hub if they have grown.
            needed, allowed = (get_peft_model_state_dict(model, save_embedding_layers=more) for more in (False, True))
            held = set(weights.keys())
            astray = (needed.keys() - held) | (held - allowed.keys())
            if astray:
                raise EscoitaError(f"adapter {adapter}: does not fit this base ({len(astray)} weights find no place)")
            own = {name: weights.get_tensor(name).to(allowed[name]) for name in held - needed.keys()}
            if base_kept and not all(equal(allowed[name], tensor) for name, tensor in own.items()):
                raise EscoitaError(f"adapter {adapter}: changes the base's embeddings, and cannot be switched off")
            model.load_adapter(adapter, "default", torch_device=str(model.device))
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise EscoitaError(f"adapter {adapter}: does not fit this base ({reason})") from error
    return model.eval()


def on_shared_weight(model: Any) -> bool:
    """Whether low-rank matrices stand on a weight that two layers use, such as a head that is the embeddings too."""
    from peft.tuners.lora import LoraLayer

    uses = Counter(id(weight) for _, weight in model.named_parameters(remove_duplicate=False))
    layers = (layer.get_base_layer() for layer in model.modules() if isinstance(layer, LoraLayer))
    return any(uses[id(layer.weight)] > 1 for layer in layers)
