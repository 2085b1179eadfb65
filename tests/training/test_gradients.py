import math
from types import SimpleNamespace
from typing import Any

import pytest

from escoita.errors import TrainingError
from training.finite import StopWithoutNumbers


def log(callback: StopWithoutNumbers, *norms: float | None) -> None:
    state: Any = SimpleNamespace(global_step=25)
    for norm in norms:
        callback.on_log(None, state, None, logs={"loss": 1.0} if norm is None else {"grad_norm": norm})


def test_a_few_in_the_beginning_are_borne() -> None:
    log(StopWithoutNumbers(), math.inf, math.nan, 1.0, math.inf, math.inf, 0.5)


@pytest.mark.parametrize("norms", [(math.nan,) * 3, (1.0, math.inf, None, math.nan, None, math.inf)])
def test_gradients_that_stay_no_numbers_end_the_training(norms: tuple[float | None, ...]) -> None:
    with pytest.raises(TrainingError, match="step 25: the norm of the gradients is (nan|inf), 3 times in a row"):
        log(StopWithoutNumbers(), *norms)
