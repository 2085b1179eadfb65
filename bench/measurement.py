"""Store a result of a benchmark, its comparison, and its goal."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """
    Store one row of the table.

    Args:
        name (`str`): Name of the measurement.
        value (`float`): Measured value.
        unit (`str`): Unit of the value.
        against (`str`, *optional*): Alternative that it is compared with, and the value of that.
        at_least (`float`, *optional*): Lower limit as a goal, in the same unit, if there is a goal.
        at_most (`float`, *optional*): Upper limit as a goal.
    """

    name: str
    value: float
    unit: str
    against: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def goal(self) -> str | None:
        """Return the goal in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return None if self.at_most is None else f"at most {self.at_most:g}"

    @property
    def met(self) -> bool | None:
        """Return whether the value reaches the goal, or `None` without a goal."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most

    @property
    def figure(self) -> str:
        """Return the value with three significant digits."""
        return f"{self.value:,.3g}" if abs(self.value) < 1000 else f"{self.value:,.0f}"
