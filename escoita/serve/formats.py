"""Write a transcript in the formats of OpenAI's API, timed formats as `escoita transcribe` writes them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from escoita.inference.outputs import TranscribedFile, as_json, as_srt, as_txt, as_vtt
from escoita.inference.subtitles import make_cues, transcript_words
from escoita.records.transcript import Transcript


# The writer and the media type of each format, except for `json`, which names the model.
WRITERS: dict[str, tuple[Callable[[TranscribedFile], str], str]] = {
    "text": (as_txt, "text/plain"),
    "srt": (as_srt, "application/x-subrip; charset=utf-8"),
    "vtt": (as_vtt, "text/vtt"),
    "verbose_json": (as_json, "application/json"),
}
# The formats with times of words or cues, which are estimated from the audio.
TIMED = ("srt", "vtt", "verbose_json")


def json_body(transcript: Transcript, model: str) -> dict[str, Any]:
    """
    Return the body of the format `json`.

    Args:
        transcript ([`~escoita.records.transcript.Transcript`]): The transcript.
        model (`str`): The name of the model.
    """
    usage = {"type": "duration", "seconds": round(transcript.audio_seconds, 3)}
    return {"text": transcript.text, "model": model, "usage": usage}


def timed_file(
    transcript: Transcript, samples: np.ndarray, language: str = "", word_timestamps: bool = False
) -> TranscribedFile:
    """
    Estimate the times of words and cues.

    Args:
        transcript ([`~escoita.records.transcript.Transcript`]): The transcript of a recording.
        samples (`np.ndarray`): The recording, of shape `(samples,)`, float32 at 16 kHz.
        language (`str`, *optional*): The tag of the language; empty if it is unknown.
        word_timestamps (`bool`, *optional*, defaults to `False`): Whether `verbose_json` contains the words.

    Returns:
        [`~escoita.inference.outputs.TranscribedFile`]: The input of the writers in [`WRITERS`].
    """
    words = transcript_words(transcript, samples)
    cues = make_cues(words, transcript.audio_seconds)
    return TranscribedFile("", transcript, tuple(words), tuple(cues), language, word_timestamps)
