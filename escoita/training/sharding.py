"""Gather the weights of a model that FSDP 2 shards over several processes, and let the model generate."""

from typing import Any


def is_sharded(model: Any) -> bool:
    """Return whether FSDP 2 shards a model, so that a process holds only a part of each weight."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def full_weights(model: Any) -> dict[str, Any] | None:
    """
    Return the trained weights, gathered from all processes, or `None` if the model is not sharded.

    All processes must call this at the same time; the frozen weights stay sharded.

    Args:
        model (`PeftModel`): The model in training.

    Returns:
        `dict[str, torch.Tensor]`: The trained weights, in the memory of the host of the main process; empty in others.
    """
    if not is_sharded(model):
        return None
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    return get_model_state_dict(model, options=options)


def allow_generation(model: Any) -> None:
    """
    Let a sharded model generate; do nothing for other models.

    FSDP gathers the weights of each layer, the trained ones included, before its forward pass, and those outside of
    layers before the forward pass of the whole model. `generate` does not call the latter, so it is registered as
    another forward pass. All processes must generate the same batches, because each gathers from all.

    Args:
        model (`PeftModel`): The model in training.
    """
    from torch.distributed.fsdp import register_fsdp_forward_method

    if "generate" not in vars(model):
        register_fsdp_forward_method(model, "generate")
