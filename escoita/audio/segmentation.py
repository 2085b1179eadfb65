"""Cut long recordings into segments of limited length, without what is not speech."""

import numpy as np

from escoita.audio.decoding import SAMPLING_RATE
from escoita.audio.silence import is_silent
from escoita.audio.speech_detection import Interval, find_speech
from escoita.records.transcript import SpeechDetector


# The window over which the level is measured, about as long as a pause between two words.
WINDOW_SECONDS = 0.2
STEP_SECONDS = 0.02
# The share at the end of the maximum length that is searched for the quietest position, so that segments stay long.
SEARCHED_SHARE = 0.4
# The time before and after a stretch of speech that belongs to its segment. Measured with the quick starts, whose
# models were trained on clips with tight ends: 0.01 s adds less than 0.003 to their WER, 0.03 s up to 0.06.
EDGE_SECONDS = 0.01


def speech_segments(
    samples: np.ndarray, limit: float, longest_pause: float = 0.0, detector: SpeechDetector | None = None
) -> list[tuple[float, float]]:
    """
    Return the segments of a recording to transcribe.

    A recording within the limit is one segment. A longer one has a segment for each stretch of speech that
    [`~escoita.audio.speech_detection.find_speech`] finds; a stretch over the limit is split at quiet positions. If no
    speech is found, the whole recording is split at quiet positions, and segments without audible content are left
    out, except the first of a silent recording: only the model can decide about its text.

    Args:
        samples (`np.ndarray`): The samples, of shape `(samples,)`, float32, 16 kHz.
        limit (`float`): The maximum length of a segment in seconds.
        longest_pause (`float`, *optional*, defaults to 0): The longest pause within a segment in seconds. Neighboring
            stretches with a shorter pause between them form one segment, if it is within the limit.
        detector (`str`, *optional*): The detector of `find_speech`. The default is the best that is installed.

    Returns:
        `list[tuple[float, float]]`: The start and end of each segment in seconds, in order; at least one.
    """
    if not is_long(samples, limit):
        return [(0.0, len(samples) / SAMPLING_RATE)]
    found = find_speech(samples, detector)
    if not found:
        parts = split_at_pauses(samples, limit)
        return [part for part in parts if not is_silent(cut_segment(samples, *part))] or parts[:1]
    edge = round(EDGE_SECONDS * SAMPLING_RATE)
    padded = [(max(0, start - edge), min(len(samples), end + edge)) for start, end in found]
    return [
        (start / SAMPLING_RATE + first, start / SAMPLING_RATE + last)
        for start, end in _joined(padded, limit, longest_pause)
        for first, last in split_at_pauses(samples[start:end], limit)
    ]


def is_long(samples: np.ndarray, limit: float) -> bool:
    """Return whether a recording is cut into segments, because it is over the limit in seconds."""
    return len(samples) > int(limit * SAMPLING_RATE)


def _joined(intervals: list[Interval], limit: float, longest_pause: float) -> list[Interval]:
    joined: list[Interval] = []
    for start, end in intervals:
        if (
            joined
            and start - joined[-1][1] <= longest_pause * SAMPLING_RATE
            and end - joined[-1][0] <= limit * SAMPLING_RATE
        ):
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined


def split_at_pauses(samples: np.ndarray, limit: float) -> list[tuple[float, float]]:
    """
    Split a recording into contiguous segments, each at the quietest position in the last two fifths of the limit.

    Args:
        samples (`np.ndarray`): The samples, of shape `(samples,)`, float32, 16 kHz.
        limit (`float`): The maximum length of a segment in seconds.

    Returns:
        `list[tuple[float, float]]`: The start and end of each segment in seconds; one segment if the recording is not
        longer than the limit.
    """
    longest = int(limit * SAMPLING_RATE)
    bounds = [0]
    while len(samples) - bounds[-1] > longest:
        earliest = bounds[-1] + int(longest * (1 - SEARCHED_SHARE))
        # The last segment must be long enough for a word.
        latest = min(bounds[-1] + longest, len(samples) - longest // 10)
        bounds.append(earliest + _quietest(samples[earliest:latest]))
    bounds.append(len(samples))
    return [(start / SAMPLING_RATE, end / SAMPLING_RATE) for start, end in zip(bounds, bounds[1:], strict=False)]


def cut_segment(samples: np.ndarray, start: float, end: float) -> np.ndarray:
    """Return the samples from `start` to `end`, in seconds."""
    return samples[round(start * SAMPLING_RATE) : round(end * SAMPLING_RATE)]


def _quietest(samples: np.ndarray) -> int:
    """Return the middle of the window with the least energy, in samples; at least 1."""
    window, step = int(WINDOW_SECONDS * SAMPLING_RATE), int(STEP_SECONDS * SAMPLING_RATE)
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    starts = np.arange(0, max(1, len(samples) - window), step)
    levels = energy[np.minimum(starts + window, len(samples))] - energy[starts]
    return max(1, int(starts[levels.argmin()]) + min(window, len(samples)) // 2)
