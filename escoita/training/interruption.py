"""What a training that was stopped by a signal remembers, so that it resumes as if it had not been."""

from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState


class ValidationInterrupted(Exception):
    """The validation stops at the next batch, as the training was asked to stop; it never leaves the trainer."""


class DueValidation(TrainerCallback, ExportableState):
    """
    Knows whether the validation of the last step is still to be done; travels inside the checkpoints.

    Args:
        due (`bool`, *optional*, defaults to `False`): The step was taken, and its validation was put off or cut short.
    """

    def __init__(self, due: bool = False):
        self.due = due

    def state(self) -> dict[str, Any]:
        """As it is written into a checkpoint."""
        return {"args": {"due": self.due}, "attributes": {}}

    def on_train_begin(self, args, state, control, **kwargs):
        """A run that resumes does not evaluate the base again; it evaluates the last step if that is due."""
        if state.global_step:
            args.eval_on_start = self.due
