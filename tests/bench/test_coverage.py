import numpy as np
import pytest

from bench.coverage import simulate


@pytest.mark.slow
def test_95_percent_intervals_over_speakers_cover_93_to_97_percent() -> None:
    for found in simulate():
        for shares in (found.rates, found.differences):
            assert 0.93 <= np.mean(shares) <= 0.97, found
            # The standard error of a share is half a percent.
            assert min(shares) >= 0.92 and max(shares) <= 0.98, found
