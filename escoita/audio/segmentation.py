"""Split long recordings at quiet positions into segments of limited length."""

import numpy as np

from escoita.audio.loading import SAMPLING_RATE


# The window over which the level is measured, about as long as a pause between two words.
WINDOW_SECONDS = 0.2
STEP_SECONDS = 0.02
# The share at the end of the maximum length that is searched for the quietest position, so that segments stay long.
SEARCHED_SHARE = 0.4


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
