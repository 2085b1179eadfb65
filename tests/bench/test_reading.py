import pytest

from bench.reading import FORMATS, measure_reading


@pytest.mark.slow
def test_the_measurements() -> None:
    *segments, scan, differ = measure_reading(minutes=0.5, rounds=1)
    assert len(segments) == 2 * len(FORMATS)
    for speed, correlation in zip(segments[::2], segments[1::2], strict=True):
        assert speed.unit == "times as fast" and speed.value > 0
        assert correlation.met
    assert scan.value > 0 and scan.goal == "at least 1.2"
    assert (differ.value, differ.met) == (0, True)
