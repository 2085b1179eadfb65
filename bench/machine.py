"""Describe the machine of a measurement."""

import datetime
import os
import platform
from importlib.metadata import version
from pathlib import Path


LIBRARIES = ("torch", "transformers", "peft", "jiwer", "rapidfuzz", "numpy", "pyarrow")


def machine() -> str:
    """Return date, cores, processor, threads, load and versions in one sentence."""
    import torch

    cores = f"{len(os.sched_getaffinity(0))} cores ({_processor()}), {torch.get_num_threads()} of them for torch"
    busy = f"load average {os.getloadavg()[0]:.1f} before"
    versions = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    return f"{datetime.date.today().isoformat()}: {cores}, {busy}; Python {platform.python_version()}, {versions}"


def _processor() -> str:
    """Return the name of the processor that the kernel reports."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
