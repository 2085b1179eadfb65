"""Estimate the memory of a training."""

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
    Hold the bytes that autograd saves between the forward and the backward pass.

    Args:
        outside (`int`): The bytes outside of layers that support gradient checkpointing.
        inputs (`int`): The bytes of the inputs of those layers; with gradient checkpointing only these are saved.
        layers (`int`): The bytes inside all of those layers.
        layer (`int`): The bytes inside the layer that saves most, which gradient checkpointing recomputes.
        largest (`int`): The bytes of the largest saved tensor.
    """

    outside: int
    inputs: int
    layers: int
    layer: int
    largest: int

    def total(self, checkpointing: bool) -> int:
        """Return the saved bytes, with or without gradient checkpointing."""
        return self.outside + (self.inputs + self.layer if checkpointing else self.layers)

    def of_one(self, rows: int) -> "Activations":
        """Return the bytes of one clip, if these are the bytes of a batch of equal clips: almost all are per clip."""
        return Activations(**{each.name: getattr(self, each.name) // rows for each in fields(self)})


def count_activations(model: Any, batch: dict[str, torch.Tensor], dtype: torch.dtype) -> Activations:
    """
    Run the forward pass of a model on the meta device, and add up the tensors that autograd saves.

    Tensors of the meta device have shapes but no values. The head over the vocabulary is excluded because TRL computes
    it in chunks.

    Args:
        model (`PeftModel`): A model without weights, on the meta device; its tensors are cast to `dtype`, which
            replaces autocast.
        batch (`dict[str, torch.Tensor]`): A batch of clips of equal length, so that there is no padding.
        dtype (`torch.dtype`): The type of matrix products.

    Returns:
        [`Activations`]: The saved bytes; each storage counts once, and weights do not count.

    Raises:
        Exception: An error of the model, if its forward pass needs values.
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
            # Like TRL, compute only the hidden states.
            model.get_base_model().base_model(**inputs, use_cache=False)
        finally:
            hook.remove()
    return ledger.total()


class _Ledger:
    """Record the storages that autograd saves, by layer."""

    def __init__(self, model: Any):
        self.layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
        self.weights = {_storage(weight) for weight in model.parameters()}
        self.outside: dict[int, int] = {}
        self.inside: list[dict[int, int]] = []
        self.inputs: dict[int, int] = {}
        self.alive: list[torch.Tensor] = []  # so that no storage is freed and its address reused
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
        # Inputs that a layer saves count once.
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
    """Assume that masks are true everywhere, as in a batch without padding, and disable checks of token counts."""
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
    """Return true or 1 when a model reads a value, for example to check whether a mask is true everywhere."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return True if args[0].dtype == torch.bool else 1
        return function(*args, **(kwargs or {}))


class _FlashAttention(TorchFunctionMode):
    """Save the tensors that attention kernels of a GPU save; on the meta device torch saves all scores."""

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
        raise NotImplementedError("only the forward pass is supported")


GIGABYTE = 1e9
# Bytes per weight: four bits, an 8-bit scale per 64 weights, and a float32 per 256 scales: double quantization,
# Dettmers et al. 2023, QLoRA, section 3.
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
# A CUDA context with cuBLAS and its kernels; a typical value, as reports range from 0.3 to 0.8 GB.
CONTEXT = 0.6e9
# bitsandbytes keeps the states of smaller tensors in float32.
_EIGHT_BIT_FROM = 4096
# Rows and columns of the buffer in which TRL computes the head, and float32 copies of a chunk without Triton; see
# trl/kernels/chunked_logprob.py.
_HEAD_ROWS, _HEAD_COLUMNS, _HEAD_COPIES = 4096, 32768, 3


@dataclass(frozen=True)
class Estimate:
    """
    Hold the peak memory of each part in bytes.

    Args:
        base (`float`): The frozen weights, without the following.
        tables (`float`): The frozen embeddings that are not also the head; they are not quantized, and could be stored
            in the memory of the host.
        trained (`float`): The trained weights, in float32.
        copies (`float`): The copies that autocast makes of weights: of trained ones, and of frozen ones that are
            stored in another type than that of matrix products.
        gradients (`float`): The gradients of the trained weights.
        optimizer (`float`): The optimizer states.
        activations (`float`): The tensors that the forward pass saves for the backward pass.
        workspace (`float`): The temporary tensors of a step: gradients of activations, chunks of logits, dequantized
            weights.
        context (`float`): The CUDA context and its kernels.
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
        """Return the sum of all parts."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Load:
    """
    Hold the settings of a recipe that affect memory.

    Args:
        dtype_bytes (`int`): The bytes of a frozen weight that is not quantized.
        compute_bytes (`int`): The bytes of a number in matrix products: 2 with bf16 or fp16, else 4.
        recast (`bool`): Whether frozen weights are stored in another type than that of matrix products.
        four_bit (`bool`): Whether linear layers are quantized to NF4.
        skipped (`Collection[str]`): The names of the modules that stay in 16 bits; see
            [`~escoita.models.loading.skip_list`].
        optimizer (`str`): The value of `training.optim`.
        checkpointing (`bool`): Whether gradient checkpointing recomputes layers in the backward pass.
        tokens (`int`): The tokens of a batch that go through the head: those with labels, or all without Triton.
        on_gpu (`bool`): Whether there is a GPU, and so a CUDA context and Triton.
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
    Estimate the peak memory of a training step.

    docs/doctor.md compares the estimate for Gemma 4 E4B with published measurements.

    Args:
        model (`PeftModel`): A model without weights, whose trained parameters require gradients.
        load ([`Load`]): The settings of the recipe.
        activations ([`Activations`]): The activations of the largest batch.

    Returns:
        [`Estimate`]: The bytes of each part, without fragmentation.
    """
    base = tables = trained = optimizer = largest = 0.0
    embeddings = {id(weight) for weight in _tables(model)}
    quantized = (
        {id(weight) for weight in _linear(model, load.skipped, model.get_output_embeddings())}
        if load.four_bit
        else set()
    )
    for weight in model.parameters():
        if weight.requires_grad:
            trained += weight.numel()
            optimizer += weight.numel() * state_bytes(load.optimizer, weight.numel())
        elif id(weight) in embeddings:
            tables += weight.numel() * load.dtype_bytes
        elif id(weight) in quantized:
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
        activations=activations.total(load.checkpointing),
        # The head is computed before the first gradient of a layer.
        workspace=max(_head_bytes(model, load), 2 * activations.largest + largest),
        context=CONTEXT if load.on_gpu else 0.0,
    )


def state_bytes(optimizer: str, size: int) -> float:
    """
    Return the bytes of optimizer states per trained weight.

    Adam and LAMB have two states, of one byte each in 8-bit versions; optimizers with momentum only have one;
    Adafactor and plain SGD have almost none.

    Args:
        optimizer (`str`): The value of `training.optim`.
        size (`int`): The number of weights of the tensor.
    """
    states = 2
    if re.search(r"lion|rmsprop|adagrad", optimizer):
        states = 1
    elif re.search(r"adafactor|^sgd|apollo|galore", optimizer):
        states = 0
    eight_bit = "8bit" in optimizer and size >= _EIGHT_BIT_FROM
    return states * (1 + 4 / 256 if eight_bit else 4)  # a float32 per 256 states of 8 bits


def _recast_bytes(model: Any, load: Load) -> float:
    """Return the bytes of copies of frozen linear layers: of all, or of one layer with gradient checkpointing."""
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
    """Return the weights of linear layers that bitsandbytes quantizes: not the head, and not skipped modules."""
    return [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and is_quantized(name, skipped)
    ]
