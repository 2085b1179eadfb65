"""What trains, and what it takes of memory, told from the shapes of the model alone."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.models import family_of
from escoita.models.chat import IGNORED, ChatFamily
from escoita.models.four_bit import skip_list
from escoita.recipe.recipe import Recipe
from escoita.training.checks import check_trainable, count_trainable
from escoita.training.preflight.activations import count_activations
from escoita.training.preflight.finding import Finding, Mark
from escoita.training.preflight.machine import free_memory
from escoita.training.preflight.memory import GIGABYTE, Estimate, Load, estimate
from escoita.training.preflight.settings import asked, precision


BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
COMPUTED = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}
PARTS = {
    "base": "frozen weights",
    "tables": "embeddings that are only looked up",
    "trained": "trained weights",
    "copies": "copies in the precision of the products",
    "gradients": "their gradients",
    "optimizer": "their optimizer states",
    "activations": "kept for the backward pass",
    "workspace": "for moments, within a step",
    "context": "CUDA and its kernels",
}


@dataclass(frozen=True)
class Longest:
    """
    The batch that takes most.

    Args:
        seconds (`float`): Of its clips.
        text (`str`): Their transcript.
        certain (`bool`): There is such a clip; else it is as long as the family hears, as not all are known.
    """

    seconds: float
    text: str
    certain: bool


def find_trainable(recipe: Recipe, family: ChatFamily, model: Any) -> Iterator[Finding]:
    """
    Compares what trains with what the recipe says.

    Args:
        recipe ([`Recipe`]): Its method.
        family ([`ChatFamily`]): Names the towers.
        model: Of [`~escoita.training.sft.untrained`].
    """
    counts = count_trainable(family, model)
    check_trainable(counts, recipe.method.trainable)
    towers = ", ".join(f"{tower} {count:,}" for tower, count in counts.items())
    yield Finding("ok", "trained", f"{sum(counts.values()):,} parameters ({towers})")


def find_lengths(recipe: Recipe, family: ChatFamily, longest: Longest, tokens: int, heard: int) -> Iterator[Finding]:
    """
    Compares the longest clip with what the family hears, and with the limit over which training stops at a clip.

    Args:
        recipe ([`Recipe`]): Its `training.max_length`.
        family ([`ChatFamily`]): Hears so many seconds.
        longest ([`Longest`]): Batch.
        tokens (`int`): In a row of it.
        heard (`int`): The same of the longest clip that was decoded, with its own transcript.
    """
    known = "the longest clip has" if longest.certain else "clips may have, as not all were heard,"
    found = f"{known} {longest.seconds:.1f} s of {family.max_audio_seconds:g}, {tokens} tokens"
    planned = asked(recipe, "max_length")
    if planned and tokens > planned:
        advice = f"raise it to {tokens}: training stops at a clip of more, as audio must not be cut"
        certain = f", {heard} in one that was heard" if heard > planned else ""
        mark: Mark = "refusal" if certain else "warning"
        yield Finding(mark, "length", f"{found}{certain}, over training.max_length {planned}", advice)
    else:
        yield Finding("ok", "length", found)


def encode_longest(
    recipe: Recipe, family: ChatFamily, processor: Any, longest: Longest, rows: int
) -> dict[str, torch.Tensor]:
    """
    A batch of the longest clips, of noise, as nothing but its shapes counts.

    Args:
        recipe ([`Recipe`]): Its prompt.
        family ([`ChatFamily`]): Of the base.
        processor: The family's processor.
        longest ([`Longest`]): What a clip is like.
        rows (`int`): Clips.
    """
    noise = np.random.default_rng(0).normal(0, 0.1, max(1600, round(longest.seconds * SAMPLING_RATE)))
    encoded = min(rows, 2)
    audio = [noise.astype(np.float32)] * encoded
    batch = family.encode_with_targets(processor, audio, [longest.text] * encoded, recipe.prompt)
    return {key: value[[0] * rows] if value.shape[:1] == (encoded,) else value for key, value in batch.items()}


def find_memory(
    recipe: Recipe, model: Any, batches: dict[int, dict[str, torch.Tensor]], longest: Longest
) -> tuple[list[Finding], Estimate]:
    """
    Compares what a step takes with what is free.

    Args:
        recipe ([`Recipe`]): Precision, optimizer, checkpointing.
        model: Of [`~escoita.training.sft.untrained`].
        batches (`dict[int, dict[str, torch.Tensor]]`): The largest batch, and one clip of it, by number of clips.
        longest ([`Longest`]): What those clips are like.

    Returns:
        `tuple[list[Finding], Estimate]`: What was found, and the estimate of the largest batch.
    """
    estimates = {rows: estimate(model, *_load(recipe, model, batch)) for rows, batch in batches.items()}
    full, one = estimates[max(estimates)], estimates[min(estimates)]
    free = free_memory()
    room = f"{free / GIGABYTE:.1f} GB are free"
    clips = f"a batch of {max(estimates)}, of {longest.seconds:.1f} s"
    found = f"about {full.total / GIGABYTE:.2f} GB for {clips}; {room}"
    width = max(map(len, PARTS.values()))
    parts = {PARTS[part.name]: getattr(full, part.name) / GIGABYTE for part in fields(full)}
    details = tuple(f"{name:<{width}} {size:8.3f} GB" for name, size in parts.items() if size)
    if one.total > free:
        advice = "a GPU with more memory, load_in_4bit: true, or training.gradient_checkpointing: true"
        found = f"about {one.total / GIGABYTE:.2f} GB for one clip of {longest.seconds:.1f} s alone; {room}"
        return [Finding("refusal", "memory", found, advice, details)], full
    if full.total > 0.9 * free:
        advice = "batches that do not fit are taken in halves, slowly; take a smaller batch, and accumulate"
        return [Finding("warning", "memory", found, advice, details)], full
    return [Finding("ok", "memory", found, details=details)], full


def _load(recipe: Recipe, model: Any, batch: dict[str, torch.Tensor]) -> tuple[Load, Any]:
    config = model.get_base_model().config
    computed = COMPUTED[precision(recipe)]
    of_base = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    dtype = of_base if recipe.dtype == "auto" else recipe.dtype
    stored = getattr(config, "quantization_config", None) or {}
    whole = family_of(recipe.base, recipe.base_revision).whole_in_4bit
    load = Load(
        dtype_bytes=BYTES.get(dtype, 4),
        compute_bytes=computed.itemsize,
        recast=computed.itemsize < 4 and str(computed) != f"torch.{dtype}",
        four_bit=recipe.load_in_4bit,
        optimizer=str(asked(recipe, "optim")),
        checkpointing=bool(asked(recipe, "gradient_checkpointing")),
        tokens=int((batch["labels"] != IGNORED).sum()) if torch.cuda.is_available() else batch["labels"].numel(),
        skipped=skip_list(stored if isinstance(stored, dict) else {}, whole) if recipe.load_in_4bit else (),
        on_gpu=torch.cuda.is_available(),
    )
    return load, count_activations(model, batch, computed)
