"""What was heard."""

from dataclasses import dataclass
from typing import Literal


Note = Literal["cut_off", "one_channel"]
NOTES: dict[Note, str] = {
    "cut_off": "The file is cut off: only what it holds was transcribed.",
    "one_channel": (
        "Mixing the channels to mono cancels or attenuates them: only the strongest channel was transcribed."
    ),
}


@dataclass(frozen=True)
class Segment:
    """
    What was heard in a part of a recording.

    Args:
        start (`float`): Where it begins, in seconds.
        end (`float`): Where it ends, in seconds.
        text (`str`): Without special tokens and edge spaces.
    """

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Transcript:
    """
    What was heard in a recording.

    Args:
        text (`str`): Of all segments, joined by spaces.
        audio_seconds (`float`): Length of the recording.
        compute_seconds (`float`): Features, generation and text; in a batch, by share of the audio.
        tokens (`int`): Tokens that were generated.
        truncated (`bool`): Whether the limit of tokens ended a segment.
        segments (`tuple[Segment, ...]`): One, unless the recording is longer than the model hears at once.
        notes (`tuple[Note, ...]`): What the user should know of the recording, as keys of [`NOTES`].
    """

    text: str
    audio_seconds: float
    compute_seconds: float
    tokens: int = 0
    truncated: bool = False
    segments: tuple[Segment, ...] = ()
    notes: tuple[Note, ...] = ()
