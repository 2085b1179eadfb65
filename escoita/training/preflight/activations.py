"""What a forward pass keeps for the backward one, found without weights: only the shapes are computed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx.experimental import _config as tracing
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.modeling_layers import GradientCheckpointingLayer


META = torch.device("meta")


@dataclass(frozen=True)
class Activations:
    """
    Bytes that autograd keeps between a forward and its backward pass.

    Args:
        outside (`int`): Outside of layers that can be checkpointed.
        inputs (`int`): Going into those layers; with gradient checkpointing only this is kept of them.
        layers (`int`): Kept inside those layers, all together.
        layer (`int`): The same of the one that keeps most; recomputed when its turn comes.
        largest (`int`): The largest tensor that is kept.
    """

    outside: int
    inputs: int
    layers: int
    layer: int
    largest: int

    def kept(self, checkpointing: bool) -> int:
        """Together, with or without gradient checkpointing."""
        return self.outside + (self.inputs + self.layer if checkpointing else self.layers)


def count_activations(model: Any, batch: dict[str, torch.Tensor], dtype: torch.dtype) -> Activations:
    """
    Runs the forward pass of a model on the meta device, where tensors have shapes and no values, and adds up what
    autograd keeps. The head over the vocabulary is left out, as TRL computes it in pieces.

    Args:
        model: A PEFT model without weights, on the meta device; its tensors are cast to `dtype`, which stands for
            autocast.
        batch (`dict[str, torch.Tensor]`): What the collator makes of clips of equal length, so that nothing is padded.
        dtype (`torch.dtype`): In which the products are computed.

    Returns:
        [`Activations`]: Each storage counted once; weights are not among them.

    Raises:
        Exception: Whatever a model raises whose forward pass asks for values, not only for shapes.
    """
    model = model.to(dtype).train()
    inputs = {
        key: torch.empty_like(value, device=META, dtype=dtype if value.is_floating_point() else None)
        for key, value in batch.items()
        if key != "labels"
    }
    ledger = _Ledger(model)
    with _without_values(), _Answers(), _FlashAttention(), ledger.watching():
        embeddings = model.get_input_embeddings()
        hook = embeddings.register_forward_hook(lambda module, args, output: output.requires_grad_(True))
        try:
            # As TRL does: the hidden states alone.
            model.get_base_model().base_model(**inputs, use_cache=False)
        finally:
            hook.remove()
    return ledger.total()


class _Ledger:
    """Storages that autograd keeps, by the layer in which it does."""

    def __init__(self, model: Any):
        self.layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
        self.weights = {_storage(weight) for weight in model.parameters()}
        self.outside: dict[int, int] = {}
        self.inside: list[dict[int, int]] = []
        self.inputs: dict[int, int] = {}
        self.alive: list[torch.Tensor] = []  # so that no storage takes the place, and the number, of another
        self.open: dict[int, int] | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        hooks = [layer.register_forward_pre_hook(self._enter, with_kwargs=True) for layer in self.layers]
        hooks += [layer.register_forward_hook(self._leave) for layer in self.layers]
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def total(self) -> Activations:
        inside = {storage: size for layer in self.inside for storage, size in layer.items()}
        # What a layer keeps of what came in is there in either case.
        outside = {storage: size for storage, size in self.outside.items() if storage not in inside}
        everything = inside | outside | self.inputs
        return Activations(
            outside=sum(outside.values()),
            inputs=sum(size for storage, size in self.inputs.items() if storage not in outside),
            layers=sum(inside.values()),
            layer=max((sum(layer.values()) for layer in self.inside), default=0),
            largest=max(everything.values(), default=0),
        )

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = _storage(tensor)
        if storage not in self.weights:
            self.alive.append(tensor)
            (self.outside if self.open is None else self.open)[storage] = tensor.untyped_storage().nbytes()
        return tensor

    def _enter(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                self.alive.append(value)
                self.inputs[_storage(value)] = value.untyped_storage().nbytes()
        self.open = {}
        self.inside.append(self.open)

    def _leave(self, module: Any, args: tuple[Any, ...], output: Any) -> None:
        self.open = None


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


@contextmanager
def _without_values() -> Iterator[None]:
    """Masks count as true everywhere, as in a batch without padding, and models do not compare counts of tokens."""
    switch = "TRANSFORMERS_DISABLE_TORCH_CHECK"
    before = os.environ.get(switch)
    os.environ[switch] = "1"
    try:
        with tracing.patch(meta_nonzero_assume_all_nonzero=True):
            yield
    finally:
        if before is None:
            del os.environ[switch]
        else:
            os.environ[switch] = before


class _Answers(TorchDispatchMode):
    """Where a model looks into a tensor, which is to ask of a mask whether all of it is true, it is."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return True if args[0].dtype == torch.bool else 1
        return function(*args, **(kwargs or {}))


class _FlashAttention(TorchFunctionMode):
    """Attention that keeps what the kernels of a GPU keep; on the meta device torch writes out all scores."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.functional.scaled_dot_product_attention:
            return _Attention.apply(*args[:3], args[3] if len(args) > 3 else (kwargs or {}).get("attn_mask"))
        return function(*args, **(kwargs or {}))


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, mask):
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, output, sums, mask)
        return output

    @staticmethod
    def backward(ctx, *gradients):
        raise NotImplementedError("only shapes are computed")
