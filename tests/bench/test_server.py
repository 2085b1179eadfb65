from pathlib import Path

import pytest

from bench.server import measure_server


@pytest.mark.slow
def test_clients_at_once_are_measured(quickstart_run: Path) -> None:
    ratio, different = measure_server(quickstart_run, clients=4, rounds=1)
    assert (ratio.goal, different.unit, different.met) == ("at least 2", "of 4", True)
    assert ratio.value > 0
