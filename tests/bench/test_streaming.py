from pathlib import Path

import pytest

from bench.streaming import measure_streaming


@pytest.mark.slow
def test_the_measurements(quickstart_run: Path) -> None:
    ratio, first, asked, crowd, different, memory = measure_streaming(quickstart_run, visitors=4, rounds=1)
    assert (ratio.goal, crowd.goal) == ("at most 1.3", "at least 1.5")
    assert (different.value, different.unit, different.met) == (0, "of 4", True)
    assert first.goal is asked.goal is memory.goal is None
    assert min(measurement.value for measurement in (ratio, first, asked, crowd, memory)) > 0
