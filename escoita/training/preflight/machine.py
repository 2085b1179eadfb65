"""What the training runs on, and whether it can do what the recipe asks of it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from escoita.recipe.recipe import Recipe
from escoita.training.preflight.finding import Finding
from escoita.training.preflight.memory import GIGABYTE
from escoita.training.preflight.settings import asked, precision


def find_machine(recipe: Recipe) -> Iterator[Finding]:
    """
    Looks for a GPU and its free memory, and whether it computes in the precision that is asked for.

    Args:
        recipe ([`Recipe`]): Its training section names the precision.
    """
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            memory = f"{free / GIGABYTE:.1f} of {total / GIGABYTE:.1f} GB free"
            yield Finding("ok", "GPU", f"{torch.cuda.get_device_name(index)}, {memory}")
    elif torch.version.cuda is None and nvidia_gpu_there():
        advice = "install torch for CUDA: https://pytorch.org/get-started/locally"
        yield Finding("warning", "GPU", f"there is one, but torch {torch.__version__} is built without CUDA", advice)
    else:
        memory = f"{free_memory() / GIGABYTE:.1f} GB of memory free"
        yield Finding("warning", "GPU", f"none; {os.cpu_count()} CPU cores, {memory}", "train where there is one")
    yield find_precision(recipe)


def find_precision(recipe: Recipe) -> Finding:
    """Whether the products can be computed as the recipe says."""
    about, wanted, gpu = "precision", precision(recipe), torch.cuda.is_available()
    if asked(recipe, "fp16") and asked(recipe, "bf16"):
        return Finding("refusal", about, "fp16 and bf16 together", "leave one of training.fp16 and training.bf16 out")
    if wanted == "fp16" and not gpu:
        return Finding("refusal", about, "fp16 on a CPU", "set training.fp16: false and training.bf16: false")
    if wanted == "bf16" and gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        return Finding("refusal", about, "this GPU does not compute in bf16", "set training.bf16: false")
    if wanted == "bf16" and not gpu and not asked(recipe, "use_cpu"):
        return Finding("refusal", about, "bf16 without a GPU", "set training.bf16: false, or training.use_cpu: true")
    return Finding("ok", about, wanted)


def nvidia_gpu_there() -> bool:
    """Whether the machine has a GPU of NVIDIA, whatever torch can use."""
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


def free_memory() -> int:
    """Bytes that a training can take: of the GPU, where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    import psutil

    return psutil.virtual_memory().available
