"""What the GPUs of a training took of energy, from the counters that they keep themselves."""

import os
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState


class EnergyMeter(TrainerCallback, ExportableState):
    """
    Joules of the GPUs from the first step to the last, over all sessions; travels inside the checkpoints.

    Args:
        joules (`float`, *optional*, defaults to 0): Of earlier sessions; none where one of them was not measured, as
            the sum would then be too small.
    """

    def __init__(self, joules: float | None = 0.0):
        self.earlier = joules
        self.started: float | None = None

    @property
    def joules(self) -> float | None:
        """Taken so far; none where it was not measured."""
        now = gpu_joules()
        if self.earlier is None or self.started is None or now is None:
            return None
        return self.earlier + now - self.started

    def on_train_begin(self, args, state, control, **kwargs):
        self.started = gpu_joules()

    def state(self) -> dict[str, Any]:
        """As it is written into a checkpoint."""
        return {"args": {"joules": self.joules}, "attributes": {}}


def gpu_joules() -> float | None:
    """
    What the GPUs that this training runs on have taken since their driver was loaded, by NVML's counter; other
    programs on them count too.

    Returns:
        `float`: In joules; none without a GPU, without `nvidia-ml-py`, for GPUs before Volta, which do not count, and
            where processes of several machines train together, as no machine sees the others' GPUs.
    """
    import torch

    processes = int(os.environ.get("WORLD_SIZE", 1))
    if not torch.cuda.is_available() or processes != int(os.environ.get("LOCAL_WORLD_SIZE", processes)):
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        # By their ids, as NVML knows nothing of CUDA_VISIBLE_DEVICES, and counts in another order.
        names = [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in _indices(processes)]
        handles = [pynvml.nvmlDeviceGetHandleByUUID(name) for name in names]
        return sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles) / 1000
    except pynvml.NVMLError:
        return None


def _indices(processes: int) -> list[int]:
    """One GPU each; a process alone has the one that torch runs it on."""
    import torch

    return list(range(processes)) if processes > 1 else [torch.cuda.current_device()]
