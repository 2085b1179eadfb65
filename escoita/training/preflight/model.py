"""Check the trainable parameters, lengths, memory and one step of a training with the shapes of its model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.data.rows import Utterance, Utterances
from escoita.models import family_of
from escoita.models.loading import skip_list
from escoita.models.trainable import IGNORED, TrainableFamily
from escoita.recipe.schema import Recipe
from escoita.training.preflight.checks import Finding, Mark, free_memory, precision, training_value
from escoita.training.preflight.memory import GIGABYTE, Activations, Estimate, Load, count_activations, estimate
from escoita.training.sanity_checks import check_trainable, count_trainable


BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
COMPUTE_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}
PARTS = {
    "base": "frozen weights",
    "tables": "embeddings",
    "trained": "trained weights",
    "copies": "copies for matrix products",
    "gradients": "gradients",
    "optimizer": "optimizer states",
    "activations": "activations",
    "workspace": "temporary tensors of a step",
    "context": "CUDA and its kernels",
}


@dataclass(frozen=True)
class Longest:
    """
    Describe the clips of the largest batch.

    Args:
        seconds (`float`): The duration of each clip in seconds.
        text (`str`): The transcript of each clip.
        certain (`bool`): Whether such a clip exists; otherwise not all durations are known, and the clip has the
            longest duration that the family supports.
    """

    seconds: float
    text: str
    certain: bool


def find_trainable(recipe: Recipe, family: TrainableFamily, model: Any) -> Iterator[Finding]:
    """
    Compare the trainable parameters with those that the recipe expects.

    Args:
        recipe ([`Recipe`]): The recipe, with the method.
        family ([`TrainableFamily`]): The family of the base.
        model (`PeftModel`): The model from [`~escoita.training.backends.untrained`].
    """
    counts = count_trainable(family, model)
    check_trainable(counts, recipe.method.trainable)
    towers = ", ".join(f"{tower} {count:,}" for tower, count in counts.items())
    yield Finding("ok", "trained", f"{sum(counts.values()):,} parameters ({towers})")


def find_lengths(
    recipe: Recipe, family: TrainableFamily, longest: Longest, tokens: int, decoded_tokens: int
) -> Iterator[Finding]:
    """
    Compare the longest clip with the limit of the family, and with `training.max_length`.

    Args:
        recipe ([`Recipe`]): The recipe.
        family ([`TrainableFamily`]): The family of the base, which limits the duration of clips.
        longest ([`Longest`]): The longest clip.
        tokens (`int`): The number of tokens of its row.
        decoded_tokens (`int`): The number of tokens of the longest decoded clip with its transcript.
    """
    subject = "the longest clip has" if longest.certain else "a clip may have, as not all were decoded,"
    found = f"{subject} {longest.seconds:.1f} s of {family.max_audio_seconds:g}, {tokens} tokens"
    limit = training_value(recipe, "max_length")
    if limit and tokens > limit:
        advice = f"raise it to {tokens}: training stops at a longer clip, because audio must not be truncated"
        certain = f", {decoded_tokens} in a decoded clip" if decoded_tokens > limit else ""
        mark: Mark = "refusal" if certain else "warning"
        yield Finding(mark, "length", f"{found}{certain}; training.max_length is {limit}", advice)
    else:
        yield Finding("ok", "length", found)


def encode_longest(
    recipe: Recipe, family: TrainableFamily, processor: Any, longest: Longest, rows: int
) -> dict[str, torch.Tensor]:
    """
    Return a batch of the longest clips, with noise as audio, because only the shapes matter.

    Args:
        recipe ([`Recipe`]): The recipe, with the prompt.
        family ([`TrainableFamily`]): The family of the base.
        processor (`ProcessorMixin`): The processor of the family.
        longest ([`Longest`]): The duration and the transcript of each clip.
        rows (`int`): The number of clips.
    """
    noise = np.random.default_rng(0).normal(0, 0.1, max(1600, round(longest.seconds * SAMPLING_RATE)))
    encoded = min(rows, 2)
    audio = [noise.astype(np.float32)] * encoded
    settings = family.resolved_settings(processor, recipe.generation_settings())
    batch = family.encode_with_targets(processor, audio, [longest.text] * encoded, settings)
    return {key: value[[0] * rows] if value.shape[:1] == (encoded,) else value for key, value in batch.items()}


def find_memory(
    recipe: Recipe, model: Any, batch: dict[str, torch.Tensor], longest: Longest
) -> tuple[list[Finding], Estimate]:
    """
    Compare the memory of a training step with the free memory.

    Args:
        recipe ([`Recipe`]): The recipe, with precision, optimizer and gradient checkpointing.
        model (`PeftModel`): The model from [`~escoita.training.backends.untrained`].
        batch (`dict[str, torch.Tensor]`): The largest batch, whose clips are equal.
        longest ([`Longest`]): The duration and the transcript of these clips.

    Returns:
        `tuple[list[Finding], Estimate]`: The findings, and the estimate for the largest batch.
    """
    load, activations = _load(recipe, model, batch)
    full = estimate(model, load, activations)
    free, rows = free_memory(), len(batch["labels"])
    available = f"{free / GIGABYTE:.1f} GB are free"
    clips = f"a batch of {rows} clips of {longest.seconds:.1f} s"
    found = f"about {full.total / GIGABYTE:.2f} GB for {clips}; {available}"
    width = max(map(len, PARTS.values()))
    parts = {PARTS[part.name]: getattr(full, part.name) / GIGABYTE for part in fields(full)}
    details = tuple(f"{name:<{width}} {size:8.3f} GB" for name, size in parts.items() if size)
    one = full  # a single clip is only estimated if the batch does not fit
    if full.total > free and rows > 1:
        one = estimate(model, replace(load, tokens=load.tokens // rows), activations.of_one(rows))
    if one.total > free:
        advice = "use a GPU with more memory, load_in_4bit: true, or training.gradient_checkpointing: true"
        found = f"about {one.total / GIGABYTE:.2f} GB for a single clip of {longest.seconds:.1f} s; {available}"
        return [Finding("refusal", "memory", found, advice, details)], full
    if full.total > 0.9 * free:
        advice = "use smaller batches and more accumulation steps; batches that do not fit are split, which is slow"
        return [Finding("warning", "memory", found, advice, details)], full
    return [Finding("ok", "memory", found, details=details)], full


def _load(recipe: Recipe, model: Any, batch: dict[str, torch.Tensor]) -> tuple[Load, Activations]:
    config = model.get_base_model().config
    computed = COMPUTE_DTYPES[precision(recipe)]
    of_base = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    dtype = of_base if recipe.dtype == "auto" else recipe.dtype
    stored = getattr(config, "quantization_config", None) or {}
    whole = family_of(recipe.base, recipe.base_revision).unquantized_modules
    load = Load(
        dtype_bytes=BYTES.get(dtype, 4),
        compute_bytes=computed.itemsize,
        recast=computed.itemsize < 4 and str(computed) != f"torch.{dtype}",
        four_bit=recipe.load_in_4bit,
        optimizer=str(training_value(recipe, "optim")),
        checkpointing=bool(training_value(recipe, "gradient_checkpointing")),
        tokens=int((batch["labels"] != IGNORED).sum()) if torch.cuda.is_available() else batch["labels"].numel(),
        skipped=skip_list(stored if isinstance(stored, dict) else {}, whole) if recipe.load_in_4bit else (),
        on_gpu=torch.cuda.is_available(),
    )
    return load, count_activations(model, batch, computed)


# Fields that need several processes; the preflight check has one.
MULTI_PROCESS_FIELDS = ("deepspeed", "fsdp", "fsdp_config", "parallelism_config")


def find_trial(
    recipe: Recipe, family: TrainableFamily, processor: Any, clips: Sequence[Utterance], model: Any
) -> Iterator[Finding]:
    """
    Take one training step on a small copy of the base.

    Args:
        recipe ([`Recipe`]): The recipe, with base, method and training.
        family ([`TrainableFamily`]): The family of the base.
        processor (`ProcessorMixin`): The processor of the family.
        clips (`Sequence[Utterance]`): The clips of the training corpora, of which the shortest are used.
        model (`PeftModel`): The model from [`~escoita.training.backends.untrained`].
    """
    from escoita.training.datasets import table
    from escoita.training.trial import ROWS, check_by_trial

    if recipe.engine == "unsloth":
        yield Finding("warning", "trial", "engine: unsloth is not tried before training")
        return
    shortest = sorted(clips, key=lambda clip: clip.audio_seconds)[:ROWS]
    excluded = [field for field in MULTI_PROCESS_FIELDS if field in recipe.training]
    check_by_trial(recipe, family, processor, table(Utterances.of(shortest)), model, excluded)
    if excluded:
        advice = "start the training with --dry-run in all processes, which tries all of them except deepspeed"
        yield Finding("warning", "trial", f"training.{', training.'.join(excluded)}: not tried", advice)
    yield Finding("ok", "trial", "one step on a copy of the base with two layers and small widths succeeds")
