"""Gradients that are not numbers train nothing, and the loss that is logged may hide it."""

import math

from transformers import TrainerCallback

from escoita.errors import TrainingError


# In a row: fp16 has a few at first, until its scale is found.
MOST = 3


class StopWithoutNumbers(TrainerCallback):
    """Ends a training whose gradients are not numbers, each time that they are logged."""

    def __init__(self) -> None:
        self.in_a_row = 0

    def on_log(self, args, state, control, logs=None, **kwargs):
        """
        Looks at the norm of the gradients.

        Raises:
            TrainingError: It was no number several times in a row.
        """
        norm = (logs or {}).get("grad_norm")
        if norm is None:
            return
        self.in_a_row = 0 if math.isfinite(norm) else self.in_a_row + 1
        if self.in_a_row == MOST:
            raise TrainingError(
                f"step {state.global_step}: the norm of the gradients is {norm}, {MOST} times in a row, so nothing is"
                " learnt; use bf16 in place of fp16, a lower training.learning_rate, or, with Unsloth,"
                " UNSLOTH_COMPILE_DISABLE=1"
            )
