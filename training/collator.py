"""Rows of a manifest become batches: decoded here, in the worker that needs them, and nowhere kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from escoita.corpora.clips import read_clip
from escoita.corpora.rows import SCHEMA, Utterance
from escoita.families.chat import ChatFamily
from escoita.records import Prompt


@dataclass
class SpeechCollator:
    """
    Decodes, extracts features, builds prompt, target and labels.

    Args:
        family ([`ChatFamily`]): How the model is spoken to.
        processor: The family's processor.
        prompt ([`Prompt`]): Told beside each clip.
    """

    family: ChatFamily
    processor: Any
    prompt: Prompt

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Batches rows with the fields of [`Utterance`]; see [`ChatFamily.encode_with_targets`]."""
        audio = [read_clip(Utterance(**{name: row[name] for name in SCHEMA.names})) for row in rows]
        return self.family.encode_with_targets(self.processor, audio, [row["text"] for row in rows], self.prompt)
