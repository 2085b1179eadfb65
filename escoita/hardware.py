"""What a program runs on, and how much of its memory it took."""

import os
import resource


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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
