"""Long recordings: cut where it is quiet, so that each part is no longer than the model hears at once."""

import numpy as np

from escoita.audio.loading import SAMPLING_RATE


# Over this many seconds the level is taken; the pause between two words is about as long.
WINDOW_SECONDS = 0.2
STEP_SECONDS = 0.02
# The last part of the limit, in which the quietest moment is looked for: segments stay long enough to be understood.
SEARCHED_SHARE = 0.4


def cut_where_quiet(samples: np.ndarray, limit: float) -> list[tuple[float, float]]:
    """
    Cuts a recording into parts, each at the quietest moment of the last two fifths of what the model hears at once.

    The parts follow one another without a gap: nothing is left out, however quiet it is.

    Args:
        samples (`np.ndarray`): Of shape `(samples,)`, float32, 16 kHz.
        limit (`float`): Longest part, in seconds.

    Returns:
        `list[tuple[float, float]]`: Start and end of each part, in seconds; one part where the recording is short
        enough.
    """
    most = int(limit * SAMPLING_RATE)
    bounds = [0]
    while len(samples) - bounds[-1] > most:
        earliest = bounds[-1] + int(most * (1 - SEARCHED_SHARE))
        # Nor may the last part be too short to hold a word.
        latest = min(bounds[-1] + most, len(samples) - most // 10)
        bounds.append(earliest + _quietest(samples[earliest:latest]))
    bounds.append(len(samples))
    return [(start / SAMPLING_RATE, end / SAMPLING_RATE) for start, end in zip(bounds, bounds[1:], strict=False)]


def part_of(samples: np.ndarray, start: float, end: float) -> np.ndarray:
    """The samples from `start` to `end`, in seconds."""
    return samples[round(start * SAMPLING_RATE) : round(end * SAMPLING_RATE)]


def _quietest(samples: np.ndarray) -> int:
    """Middle of the window that holds the least energy, in samples; at least 1."""
    window, step = int(WINDOW_SECONDS * SAMPLING_RATE), int(STEP_SECONDS * SAMPLING_RATE)
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    starts = np.arange(0, max(1, len(samples) - window), step)
    levels = energy[np.minimum(starts + window, len(samples))] - energy[starts]
    return max(1, int(starts[levels.argmin()]) + min(window, len(samples)) // 2)
