"""Store the parts of the GPU check, and what each of them found."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal


Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Figure:
    """
    Store one measured value.

    Args:
        name (`str`): The name of the value.
        value (`float`): The measured value.
        unit (`str`, *optional*, defaults to `""`): The unit of the value.
        at_least (`float`, *optional*): The lower limit, if the value is expected to have one.
        at_most (`float`, *optional*): The upper limit.
    """

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def passed(self) -> bool:
        """Return whether the value is finite and within its limits."""
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return math.isfinite(self.value) and low <= self.value <= high

    @property
    def expected(self) -> str:
        """Return the limits in words; empty without limits."""
        limits = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{words} {limit:.4g}" for words, limit in limits if limit is not None)

    def __str__(self) -> str:
        verdict = "" if self.passed else " FAILED"
        expected = f", expected {self.expected}" if self.expected else ""
        return f"{self.name}: {self.value:.4g} {self.unit}".rstrip() + expected + verdict


@dataclass
class Outcome:
    """
    Store the outcome of a part.

    Args:
        name (`str`): The name of the part.
        status (`str`): The status: `passed`, `failed` or `skipped`.
        reason (`str`): The reason of a failure or a skip; empty if the part passed.
        figures (`list[Figure]`): The measured values.
        seconds (`float`): The time that the part took.
    """

    name: str
    status: Status
    reason: str = ""
    figures: list[Figure] = field(default_factory=list)
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """Return the outcome for JSON; a value that is not finite becomes `None`."""
        figures = [
            asdict(each)
            | {"value": each.value if math.isfinite(each.value) else None, "expected": each.expected}
            | {"passed": each.passed}
            for each in self.figures
        ]
        return asdict(self) | {"figures": figures}


@dataclass(frozen=True)
class Context:
    """
    Hold what all parts need.

    Args:
        folder (`Path`): A folder for bases and runs, which parts share.
        toy (`bool`): Whether tiny models are used, so that a CPU suffices.
        device (`str`): The device, `cuda` or `cpu`.
    """

    folder: Path
    toy: bool
    device: str

    @property
    def on_gpu(self) -> bool:
        """Return whether the device is a GPU."""
        return self.device == "cuda"


@dataclass(frozen=True)
class Part:
    """
    Define a part of the check.

    Args:
        name (`str`): The name of the part.
        seconds (`float`): The time limit on a GPU.
        needs (`tuple[str, ...]`): The modules without which the part is skipped.
        run (`Callable`): The function that returns the measured values, or raises an error.
    """

    name: str
    seconds: float
    needs: tuple[str, ...]
    run: Callable[[Context], list[Figure]]

    def missing(self) -> list[str]:
        """Return the modules that are not installed."""
        return [name for name in self.needs if find_spec(name) is None]
