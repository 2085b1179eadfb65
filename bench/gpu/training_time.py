"""
Estimate how long the published recipes train on a GPU, from their arithmetic; nothing here was measured on a GPU.

A step takes the larger of two times: that of its matrix products and of reading its weights, and that in which the
host launches its kernels, which does not depend on the GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from escoita.jobs.cost import ASSUMED


@dataclass(frozen=True)
class Gpu:
    """
    Hold the speed of a GPU, from its data sheet.

    Args:
        name (`str`): The name.
        tflops (`float`): The peak of dense bf16 matrix products with float32 sums, in 10^12 operations per second.
        gigabytes_per_second (`float`): The bandwidth of its memory.
        usd_per_hour (`float`, *optional*): The assumed price on hardware of the Hub; `None` if the price is not known.
    """

    name: str
    tflops: float
    gigabytes_per_second: float
    usd_per_hour: float | None = None


# The laptop GPU has no published bf16 figure: half of the desktop card's, as it has half of its cores.
GPUS = (
    Gpu("RTX 4090", 165, 1008),
    Gpu("RTX 5090 laptop", 104, 896),
    Gpu("A100", 312, 2039, ASSUMED.usd_per_hour),
    Gpu("H100", 989, 3350),
)


@dataclass(frozen=True)
class Work:
    """
    Hold the work of an optimizer step.

    Args:
        name (`str`): The name of the recipe.
        steps (`int`): The number of steps.
        tokens (`int`): The tokens of a step that the language model processes, without padding.
        frozen (`float`): The weights of the frozen layers that process them.
        audio_frames (`int`): The vectors that the audio encoder processes.
        audio (`float`): The weights of the audio encoder.
        passes (`int`): The batches of a step.
        read (`float`): The bytes that a forward pass reads and writes for its weights.
        kernels (`int`): The kernels of a batch.
        trains_audio (`bool`): Whether all weights of the encoder are trained, instead of low-rank matrices.
    """

    name: str
    steps: int
    tokens: int
    frozen: float
    audio_frames: int
    audio: float
    passes: int
    read: float
    kernels: int
    trains_audio: bool = False


# Clips of 5 s: 125 vectors of 40 ms in Gemma 4, 63 of 80 ms in Phi-4, and 65 or 40 other tokens. The weights are those
# of the linear layers of the published sizes. A 4-bit weight is read, written in 16 bits and read again.
UZBEK = Work("gemma4-uzbek", 81_304, 8 * 190, 3.97e9, 8 * 125, 0.31e9, 1, 3.97e9 * 4.5, 12_000)
GALICIAN = Work("phi4-galician", 18_750, 16 * 103, 3.22e9, 16 * 63, 0.45e9, 16, 3.22e9 * 2, 8_000, True)

# The share of the peak that matrix products of such sizes reach, and the time in which a host launches a kernel in
# PyTorch's eager mode; typical values.
UTILIZATION = 0.4
SECONDS_PER_KERNEL = 29e-6
# Forward, the same again with gradient checkpointing, and backward: two operations per weight and token each.
FROZEN_PASSES, TRAINED_PASSES = 3, 4


def step_seconds(work: Work, gpu: Gpu) -> float:
    """
    Return the estimated time of an optimizer step.

    Args:
        work ([`Work`]): The work of the step.
        gpu ([`Gpu`]): The GPU.
    """
    audio_passes = TRAINED_PASSES if work.trains_audio else FROZEN_PASSES
    operations = 2 * (FROZEN_PASSES * work.tokens * work.frozen + audio_passes * work.audio_frames * work.audio)
    computing = operations / (UTILIZATION * gpu.tflops * 1e12)
    reading = FROZEN_PASSES * work.passes * work.read / (gpu.gigabytes_per_second * 1e9)
    return max(computing + reading, work.passes * work.kernels * SECONDS_PER_KERNEL)


def time_table(works: Sequence[Work], gpus: Sequence[Gpu] = GPUS) -> str:
    """
    Return the table of docs/gpu.md.

    Args:
        works (`Sequence[Work]`): The work of each recipe.
        gpus (`Sequence[Gpu]`, *optional*): The GPUs.
    """
    lines = ["| recipe | steps | GPU | a step | training | price |", "|---|---:|---|---:|---:|---:|"]
    for work in works:
        for gpu in gpus:
            step = step_seconds(work, gpu)
            hours = step * work.steps / 3600
            price = "–" if gpu.usd_per_hour is None else f"{hours * gpu.usd_per_hour:.0f} USD"
            cells = (work.name, f"{work.steps:,}", gpu.name, f"{step:.2f} s", f"{hours:.0f} h", price)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
