"""How fast training goes, from session to session."""

import math
import time
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from escoita.records.training import Pace


# Seconds of steps are counted in classes, each so much wider than the one before: no more than some hundreds of them,
# however many steps there are, and a median that is known to half of this.
WIDTH = 1.01


class PaceMeter(TrainerCallback, ExportableState):
    """
    Measures optimizer steps from when their data are asked for to when their weights are there; evaluations and
    checkpoints are not in it.

    What it counted travels in the checkpoints, so that what a killed session did after its last one, and another does
    again, counts once.
    """

    def __init__(self) -> None:
        self.classes: dict[str, int] = {}  # how many steps took so long; JSON knows no keys but text
        self.seconds = self.waited = 0.0
        self.heard = self.padded = 0.0
        self.halved = 0
        self._asked = time.perf_counter()
        self._waited = self._heard = self._padded = 0.0

    def state(self) -> dict[str, Any]:
        """As it is written into a checkpoint."""
        known = ("classes", "seconds", "waited", "heard", "padded", "halved")
        return {"args": {}, "attributes": {name: getattr(self, name) for name in known}}

    def ask(self) -> None:
        """The data of a step are asked for."""
        self._asked = time.perf_counter()

    def have(self, heard: float, padded: float) -> None:
        """
        The data of a step are there.

        Args:
            heard (`float`): Audio of its clips, on all processes, in seconds.
            padded (`float`): The same with each clip as long as the longest of its batch.
        """
        self._waited, self._heard, self._padded = time.perf_counter() - self._asked, heard, padded

    def on_step_end(self, args, state, control, **kwargs):
        took = time.perf_counter() - self._asked
        each = str(round(math.log(max(took, 1e-6), WIDTH)))
        self.classes[each] = self.classes.get(each, 0) + 1
        self.seconds, self.waited = self.seconds + took, self.waited + self._waited
        self.heard, self.padded = self.heard + self._heard, self.padded + self._padded

    def record(self) -> Pace | None:
        """What was measured; nothing before the first step."""
        if not self.classes:
            return None
        return Pace(
            step_seconds=self._median(),
            waiting_share=self.waited / self.seconds,
            audio_seconds=self.heard,
            audio_hours_per_hour=self.heard / self.seconds,
            padding_share=1 - self.heard / self.padded if self.padded else 0.0,
            halved_batches=self.halved,
        )

    def _median(self) -> float:
        left = sum(self.classes.values()) // 2
        for each in sorted(self.classes, key=int):
            left -= self.classes[each]
            if left < 0:
                break
        return WIDTH ** int(each)


def audio_of(lengths: list[torch.Tensor]) -> tuple[float, float]:
    """
    Audio of some batches.

    Args:
        lengths (`list[torch.Tensor]`): Of the clips of each batch, in seconds, each of shape `(batch,)`.

    Returns:
        `tuple[float, float]`: Seconds of all clips, and seconds with each as long as the longest of its batch.
    """
    heard = sum(float(each.sum()) for each in lengths)
    return heard, sum(float(each.max()) * len(each) for each in lengths)
