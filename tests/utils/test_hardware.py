import sys

import numpy as np
import pytest

from escoita.utils.processes import forget_peak_memory, peak_memory_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="no other system lets the peak of a process begin anew")
def test_a_peak_that_is_forgotten_is_not_counted_again() -> None:
    def take(megabytes: int) -> int:
        forget_peak_memory()
        before = peak_memory_bytes()
        np.ones(megabytes * 125_000)
        return peak_memory_bytes() - before

    assert take(200) > 190e6
    assert take(20) < 100e6
