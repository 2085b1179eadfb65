import re

import pytest

from escoita.utils import formatting as figures


@pytest.mark.parametrize(
    "value, shown_as",
    [(0.07118, "7.12 %"), (0, "0.00 %"), (1.25167, "125.17 %"), (None, "–"), (0.00004, "0.00 %")],
)
def test_percent(value: float | None, shown_as: str) -> None:
    assert figures.percent(value) == shown_as


def test_intervals_and_thousands() -> None:
    assert figures.interval((0.06512, 0.07731)) == "6.51 to 7.73 %"
    assert figures.thousands(1234567) == "1,234,567"
    assert re.fullmatch(r"\d", figures.thousands(7))


def test_a_whole_says_what_it_is_made_of() -> None:
    assert figures.composition([("large", 0.75), ("small", 0.25)]) == "large 75.00 %, small 25.00 %"


@pytest.mark.parametrize(
    "value, shown_as", [(0.0123, "+1.23"), (-1.5, "−150.00"), (0, "0.00"), (-0.00004, "0.00"), (0.00005001, "+0.01")]
)
def test_points(value: float, shown_as: str) -> None:
    assert figures.points(value) == shown_as


def test_an_interval_of_points_has_both_signs() -> None:
    assert figures.points_interval((-0.02, 0.001)) == "−2.00 to +0.10"


@pytest.mark.parametrize("value, shown_as", [(1.0, "1.000"), (0.0312, "0.031"), (0.00099, "< 0.001")])
def test_probabilities(value: float, shown_as: str) -> None:
    assert figures.probability(value) == shown_as


@pytest.mark.parametrize(
    "factor, shown_as", [(0.0412, "0.0412"), (14.42, "14.4"), (99.97, "100"), (1234.5, "1,234"), (0.0, "0")]
)
def test_speeds(factor: float, shown_as: str) -> None:
    assert figures.speed(factor) == shown_as


@pytest.mark.parametrize(
    "seconds, shown_as", [(0.0, "0.0 min"), (754.0, "12.6 min"), (3600.0, "1.0 h"), (4.5e6, "1,250.0 h")]
)
def test_durations(seconds: float, shown_as: str) -> None:
    assert figures.duration(seconds) == shown_as


def test_memory_and_energy() -> None:
    assert figures.gigabytes(2_340_000_000) == "2.3 GB"
    assert [figures.kilowatt_hours(joules) for joules in (0.0, 4.5e6, 123_456.0)] == [
        "0 kWh",
        "1.25 kWh",
        "0.0343 kWh",
    ]
