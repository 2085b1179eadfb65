"""What a program runs on, and how much of its memory it took."""

import os
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path


def device() -> str:
    """`cuda`, with the number of this process' GPU where several processes run on one machine; else `cpu`."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{rank}" if rank else "cuda"


def device_name(device: str) -> str:
    """The GPU as its driver calls it, or `cpu`."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def peak_memory_bytes() -> int:
    """Peak memory of the GPU where there is one, else peak resident memory of this process."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    with suppress(OSError):
        # Not by `getrusage`, whose peak is that of the program too that started this one, and cannot begin anew.
        if found := re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()):
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak_memory() -> None:
    """Lets the peak begin anew at what is taken now; without a GPU, on Linux alone."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
