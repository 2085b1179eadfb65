"""Define transcripts."""

from dataclasses import dataclass
from typing import Literal


Note = Literal["cut_off", "one_channel"]
# The methods that find the speech of long recordings; see `escoita/audio/speech_detection.py`.
SpeechDetector = Literal["silero", "energy"]
DETECTORS: dict[SpeechDetector, str] = {
    "silero": "Silero VAD",
    "energy": "its energy; `pip install 'escoita[vad]'` also leaves out music and other sounds that change",
}
NOTES: dict[Note, str] = {
    "cut_off": "The file is cut off: only what it holds was transcribed.",
    "one_channel": (
        "Mixing the channels to mono cancels or attenuates them: only the strongest channel was transcribed."
    ),
}


@dataclass(frozen=True)
class Segment:
    """
    Store the transcript of a segment of a recording.

    Args:
        start (`float`): The start, in seconds.
        end (`float`): The end, in seconds.
        text (`str`): The text, without special tokens and edge spaces.
        characters (`tuple[tuple[float, float], ...]`): The start and the end of each character that is not a space, in
            seconds, from a model that knows them; else empty.
    """

    start: float
    end: float
    text: str
    characters: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Transcript:
    """
    Store the transcript of a recording.

    Args:
        text (`str`): The text of all segments, joined by spaces if the language has spaces between words.
        audio_seconds (`float`): The length of the recording, in seconds.
        compute_seconds (`float`): The time of features, generation and decoding; in a batch, the share of the audio.
        tokens (`int`): The number of generated tokens.
        truncated (`bool`): Whether the token limit ended a segment.
        segments (`tuple[Segment, ...]`): The segments; one, unless the recording is over the limit of the model.
        notes (`tuple[Note, ...]`): The notes about the recording, as keys of [`NOTES`].
        speech_detector (`str`, *optional*): The method that found the segments, `silero` or `energy`; `None` if the
            whole recording is one segment.
    """

    text: str
    audio_seconds: float
    compute_seconds: float
    tokens: int = 0
    truncated: bool = False
    segments: tuple[Segment, ...] = ()
    notes: tuple[Note, ...] = ()
    speech_detector: SpeechDetector | None = None
