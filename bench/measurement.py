"""A figure of a benchmark, what it stands beside, and whether it is what it should be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """
    One line of the table.

    Args:
        name (`str`): What was measured.
        value (`float`): What came out.
        unit (`str`): Of the value.
        against (`str`, *optional*): What it stands beside, with its figure; nothing where it stands alone.
        at_least (`float`, *optional*): The goal, in the same unit. Without a goal the line is information.
        at_most (`float`, *optional*): The same, where less is better.
    """

    name: str
    value: float
    unit: str
    against: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def goal(self) -> str | None:
        """The goal in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return None if self.at_most is None else f"at most {self.at_most:g}"

    @property
    def met(self) -> bool | None:
        """Whether the value reaches the goal; nothing where there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most

    @property
    def figure(self) -> str:
        """The value as people read it."""
        return f"{self.value:,.3g}" if abs(self.value) < 1000 else f"{self.value:,.0f}"
