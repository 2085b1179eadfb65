"""Estimate the memory that a training takes."""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch.fx.experimental import _config as tracing
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.modeling_layers import GradientCheckpointingLayer

from escoita.models.loading import is_quantized


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


GIGABYTE = 1e9
# Bytes for each weight: four bits, an 8-bit scale for every 64 of them, and a float32 for every 256 scales: double
# quantisation, Dettmers et al. 2023, QLoRA, section 3.
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
# A CUDA context with cuBLAS and its kernels; not measured here, as there is no GPU: users see 0.3 to 0.8 GB.
CONTEXT = 0.6e9
# As bitsandbytes has it: smaller tensors keep their states in float32.
_EIGHT_BIT_FROM = 4096
# Rows and columns of the buffer through which TRL computes the head, and copies in float32 that it makes of a piece
# where there is no Triton; see trl/kernels/chunked_logprob.py.
_HEAD_ROWS, _HEAD_COLUMNS, _HEAD_COPIES = 4096, 32768, 3


@dataclass(frozen=True)
class Estimate:
    """
    Bytes of each part at its peak.

    Args:
        base (`float`): Frozen weights, without what follows.
        tables (`float`): Frozen embeddings that are only looked up, not those that are the head too; quantisation
            leaves them as they are, and they could lie in the memory of the host.
        trained (`float`): Trained weights, in float32.
        copies (`float`): That autocast makes of weights in the precision of the products: of the trained ones, and of
            frozen ones that are stored in another.
        gradients (`float`): Of the trained weights.
        optimizer (`float`): Its states.
        activations (`float`): What the forward pass keeps for the backward one.
        workspace (`float`): What a step needs for moments: gradients of activations, pieces of logits, weights that
            come out of their four bits.
        context (`float`): CUDA and its kernels.
    """

    base: float
    tables: float
    trained: float
    copies: float
    gradients: float
    optimizer: float
    activations: float
    workspace: float
    context: float

    @property
    def total(self) -> float:
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Load:
    """
    How a recipe uses memory.

    Args:
        dtype_bytes (`int`): Of a frozen weight that is not quantised.
        compute_bytes (`int`): Of a number in a product: 2 under bf16 or fp16, else 4.
        recast (`bool`): Frozen weights are stored in another type than that of the products.
        four_bit (`bool`): Linear layers are in NF4.
        skipped (`Collection[str]`): Names of the modules that stay in 16 bits; see
            [`~escoita.models.loading.skip_list`].
        optimizer (`str`): As `training.optim` calls it.
        checkpointing (`bool`): Layers are computed again in the backward pass.
        tokens (`int`): Of a batch that go through the head: those with labels, or all where there is no Triton.
        on_gpu (`bool`): Else there is no CUDA context, and no Triton.
    """

    dtype_bytes: int
    compute_bytes: int
    recast: bool
    four_bit: bool
    optimizer: str
    checkpointing: bool
    tokens: int
    skipped: Collection[str] = ()
    on_gpu: bool = True


def estimate(model: Any, load: Load, activations: Activations) -> Estimate:
    """
    Adds up the peak of a training step.

    How near it comes for Gemma 4 E4B stands in docs/doctor.md, as far as others said what they measured.

    Args:
        model: A PEFT model without weights; what of it requires a gradient is trained.
        load ([`Load`]): What the recipe says.
        activations ([`Activations`]): Of the largest batch.

    Returns:
        [`Estimate`]: Bytes by part. Fragments between tensors are not counted.
    """
    base = tables = trained = optimizer = largest = 0.0
    looked_up = {id(weight) for weight in _tables(model)}
    quantised = (
        {id(weight) for weight in _linear(model, load.skipped, model.get_output_embeddings())}
        if load.four_bit
        else set()
    )
    for weight in model.parameters():
        if weight.requires_grad:
            trained += weight.numel()
            optimizer += weight.numel() * state_bytes(load.optimizer, weight.numel())
        elif id(weight) in looked_up:
            tables += weight.numel() * load.dtype_bytes
        elif id(weight) in quantised:
            base += weight.numel() * NF4
            largest = max(largest, weight.numel() * load.compute_bytes)
        else:
            base += weight.numel() * load.dtype_bytes
    return Estimate(
        base=base,
        tables=tables,
        trained=4 * trained,
        copies=(trained * load.compute_bytes if load.compute_bytes < 4 else 0) + _recast_bytes(model, load),
        gradients=4 * trained,
        optimizer=optimizer,
        activations=activations.kept(load.checkpointing),
        # The head is done before the first gradient of a layer is there.
        workspace=max(_head_bytes(model, load), 2 * activations.largest + largest),
        context=CONTEXT if load.on_gpu else 0.0,
    )


def state_bytes(optimizer: str, size: int) -> float:
    """
    Bytes of an optimizer's states for each trained weight.

    Args:
        optimizer (`str`): As `training.optim` calls it: two states for Adam and LAMB, in one byte each where it is an
            8-bit one; one for those with momentum alone; next to none for Adafactor and plain SGD.
        size (`int`): Of the tensor.
    """
    states = 2
    if re.search(r"lion|rmsprop|adagrad", optimizer):
        states = 1
    elif re.search(r"adafactor|^sgd|apollo|galore", optimizer):
        states = 0
    eight_bit = "8bit" in optimizer and size >= _EIGHT_BIT_FROM
    return states * (1 + 4 / 256 if eight_bit else 4)  # with a float32 for each 256 of them


def _recast_bytes(model: Any, load: Load) -> float:
    """Of frozen linear layers, as the backward pass needs the copies again: of all, or of one checkpointed layer."""
    if not load.recast or load.four_bit:
        return 0.0
    inside = [
        sum(weight.numel() for weight in _linear(layer) if not weight.requires_grad)
        for layer in model.modules()
        if isinstance(layer, GradientCheckpointingLayer)
    ]
    return load.compute_bytes * (max(inside, default=0) if load.checkpointing else sum(inside))


def _head_bytes(model: Any, load: Load) -> float:
    vocabulary, width = model.get_output_embeddings().weight.shape
    rows = min(load.tokens, _HEAD_ROWS)
    copies = 0 if load.on_gpu else 4 * _HEAD_COPIES * min(vocabulary, _HEAD_COLUMNS)
    return rows * (_HEAD_COLUMNS * load.compute_bytes + copies) + load.tokens * width * (load.compute_bytes + 4)


def _tables(model: Any) -> list[torch.Tensor]:
    head = model.get_output_embeddings().weight
    return [
        module.weight
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding) and module.weight is not head
    ]


def _linear(model: Any, skipped: Collection[str] = (), head: Any = None) -> list[torch.Tensor]:
    """Weights of linear layers; bitsandbytes leaves the head alone, and what is to be skipped."""
    return [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and is_quantized(name, skipped)
    ]
