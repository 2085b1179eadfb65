"""Rows of a manifest become batches: decoded here, in the worker that needs them, and nowhere kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import get_worker_info

from escoita.audio.loading import seconds
from escoita.data.clips import read_clip
from escoita.data.rows import SCHEMA, Utterance
from escoita.errors import EscoitaError, TrainingError
from escoita.models.chat import ChatFamily
from escoita.records.training import Prompt
from escoita.utils.formatting import visible


# The key of a batch that holds the lengths of its clips, in seconds; the trainer takes it out before the model.
SECONDS = "clip_seconds"


class RefusedByWorker(EscoitaError):
    """
    What a worker of torch's DataLoader refused.

    Args:
        message (`str`): The line that says why; or a traceback that ends with it, which is all that torch passes on.
    """

    def __init__(self, message: str):
        super().__init__(message.rstrip().rpartition("\n")[2].partition(f"{type(self).__name__}: ")[2] or message)


@dataclass
class SpeechCollator:
    """
    Decodes, extracts features, builds prompt, target and labels.

    Args:
        family ([`ChatFamily`]): How the model is spoken to.
        processor: The family's processor.
        prompt ([`Prompt`]): Told beside each clip.
        max_length (`int`, *optional*): Most tokens of prompt, audio and transcript together; no limit unless given.
    """

    family: ChatFamily
    processor: Any
    prompt: Prompt
    max_length: int | None = None

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """
        Batches rows with the fields of [`Utterance`]; see [`ChatFamily.encode_with_targets`]. The lengths of the clips
        are beside, under `clip_seconds`.

        Raises:
            EscoitaError: A clip cannot be read, or is longer in tokens than the limit, to which nothing is cut.
        """
        try:
            return self._batch([Utterance(**{name: row[name] for name in SCHEMA.names}) for row in rows])
        except EscoitaError as error:
            if get_worker_info() is None:
                raise
            raise RefusedByWorker(" ".join(str(error).split())) from None

    def _batch(self, clips: list[Utterance]) -> dict[str, torch.Tensor]:
        audio = [read_clip(clip) for clip in clips]
        batch = self.family.encode_with_targets(self.processor, audio, [clip.text for clip in clips], self.prompt)
        if self.max_length is not None:
            for clip, tokens in zip(clips, batch["attention_mask"].sum(1).tolist(), strict=True):
                if tokens > self.max_length:
                    raise TrainingError(
                        f"{visible(f'{clip.source}:{clip.row}: {clip.audio}')}: {tokens} tokens, over the"
                        f" {self.max_length} of training.max_length; raise it, or leave the clip out and give"
                        " --accept-changed-data: none is cut"
                    )
        return batch | {SECONDS: torch.tensor([seconds(samples) for samples in audio])}
