from typing import Any

import pytest

from bench.measurement import Measurement


@pytest.mark.parametrize(
    "bounds, value, goal, met",
    [
        ({"at_least": 6}, 6.0, "at least 6", True),
        ({"at_least": 6}, 5.99, "at least 6", False),
        ({"at_most": 10}, 10.0, "at most 10", True),
        ({"at_most": 0}, 1, "at most 0", False),
        ({}, 3.0, None, None),
    ],
)
def test_a_goal_is_met_or_missed(bounds: dict[str, Any], value: float, goal: str | None, met: bool | None) -> None:
    measurement = Measurement("Speed", value, "times as fast", **bounds)
    assert (measurement.goal, measurement.met) == (goal, met)


@pytest.mark.parametrize(
    "value, shown", [(7.8349, "7.83"), (0.43211, "0.432"), (0, "0"), (343.6, "344"), (650429, "650,429")]
)
def test_values_have_three_significant_digits(value: float, shown: str) -> None:
    assert Measurement("Speed", value, "ms").figure == shown
