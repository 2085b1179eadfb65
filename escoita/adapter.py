"""A base and the adapter that was trained for it."""

import warnings
from typing import Any

from escoita.errors import EscoitaError
from escoita.resolve import hub_errors, local_file


def merged(model: Any, adapter: str) -> Any:
    """
    Merges an adapter into a base, which then answers as fast as before.

    Args:
        model: The base, loaded.
        adapter (`str`): A folder, or a repository of the Hub.

    Raises:
        EscoitaError: There is no such adapter, or it is not one for this base.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    try:
        with hub_errors(f"adapter {adapter}"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found missing adapter keys")  # counted below
            model = PeftModel.from_pretrained(model, adapter, torch_device=str(model.device))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise EscoitaError(f"adapter {adapter}: does not fit this base ({reason})") from error
    with safe_open(local_file(adapter, "adapter_model.safetensors"), "pt") as weights:
        # PEFT passes over what it does not know, and what is missing stays zero: the base would answer alone.
        astray = set(weights.keys()) ^ set(get_peft_model_state_dict(model))
    if astray:
        raise EscoitaError(f"adapter {adapter}: does not fit this base ({len(astray)} weights find no place)")
    return model.merge_and_unload().eval()
