"""Make batches of manifest rows; recordings are decoded in the worker that needs them, and not cached."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import get_worker_info

from escoita.audio.loading import seconds
from escoita.data.clips import read_clip
from escoita.data.rows import SCHEMA, Utterance
from escoita.errors import EscoitaError, TrainingError
from escoita.models.trainable import TrainableFamily
from escoita.records.training import AdapterRecord


# The key of a batch that holds the durations of its clips in seconds; the trainer removes it before the model. It is a
# NumPy array, which stays in the memory of the host, so that reading it does not wait for the GPU.
SECONDS = "clip_seconds"


class TooManyTokensError(TrainingError):
    """
    Report a clip whose prompt, audio and transcript exceed `training.max_length`.

    Args:
        tokens (`int`): The number of tokens.
        limit (`int`): The value of `training.max_length`.
    """

    tokens: int
    limit: int
    problem = "{tokens} tokens, more than the {limit} of training.max_length; clips are not truncated"
    hint = "raise it, or leave the clip out and give --accept-changed-data"


class WorkerError(EscoitaError):
    """
    Report an error that a worker of torch's DataLoader raised.

    Args:
        message (`str`): The error in one line, or a traceback that ends with it, which is all that torch passes on.
    """

    def __init__(self, message: str):
        super().__init__(message.rstrip().rpartition("\n")[2].partition(f"{type(self).__name__}: ")[2] or message)


@dataclass
class SpeechCollator:
    """
    Decode clips, extract features, and build prompt, target and labels.

    Args:
        family ([`TrainableFamily`]): The model family.
        processor (`ProcessorMixin`): The processor of the family.
        settings ([`AdapterRecord`]): The generation settings, with the prompt of each clip.
        max_length (`int`, *optional*): The limit of the tokens of a row; none by default.
    """

    family: TrainableFamily
    processor: Any
    settings: AdapterRecord
    max_length: int | None = None

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """
        Return the batch of some rows, which have the fields of [`Utterance`].

        Returns:
            `dict[str, Any]`: The output of [`TrainableFamily.encode_with_targets`], and the durations of the clips in
            seconds as `clip_seconds`, a NumPy array of shape `(batch,)`.

        Raises:
            EscoitaError: A clip cannot be read, or has more tokens than the limit.
        """
        try:
            return self._batch([Utterance(**{name: row[name] for name in SCHEMA.names}) for row in rows])
        except EscoitaError as error:
            if get_worker_info() is None:
                raise
            raise WorkerError(" ".join(str(error).split())) from None

    def _batch(self, clips: list[Utterance]) -> dict[str, Any]:
        audio = [read_clip(clip) for clip in clips]
        batch = self.family.encode_with_targets(self.processor, audio, [clip.text for clip in clips], self.settings)
        if self.max_length is not None:
            for clip, row in zip(clips, self.family.rows(batch), strict=True):
                if (tokens := len(row.tokens)) > self.max_length:
                    raise TooManyTokensError(
                        path=clip.source, row=clip.row, value=clip.audio, tokens=tokens, limit=self.max_length
                    )
        return batch | {SECONDS: np.array([seconds(samples) for samples in audio])}
