"""Find in a recording what its words can be aligned to: the pauses, the nuclei of syllables, and sibilants."""

from typing import NamedTuple

import numpy as np

from escoita.audio.loading import SAMPLING_RATE, seconds


FRAME_SECONDS = 0.02
# The closure of a plosive is at most so long; a longer quiet stretch is a pause.
SHORTEST_PAUSE = 0.16
# A louder stretch between two pauses that is not longer is a click.
_SHORTEST_SPEECH = 0.08
# The shares of frames that are quieter than the noise floor, and than the loud parts of speech.
_FLOOR_QUANTILE, _SPEECH_QUANTILE = 0.05, 0.95
# Frames so many dB below the loud parts are quiet. If the noise floor is higher, frames are quiet whose level is above
# the floor by less than this share of the distance between floor and loud parts, in dB.
_BELOW_SPEECH, _ABOVE_FLOOR = 30.0, 0.35
# A distance of floor and loud parts, in dB, below which no pause is found: steady noise or music.
_LEAST_CONTRAST = 9.0
# The spectrum of a frame is taken over so many samples, of 31 Hz each.
_WINDOW = 512
# Bins of the vowels (280 Hz to 2.5 kHz), of voiced sounds (190 Hz to 2.5 kHz), and of sibilants (from 3.5 kHz).
_VOWELS, _VOICED, _SIBILANTS = slice(9, 80), slice(6, 80), slice(112, None)
# Between two nuclei the level falls by so many dB; a nucleus is at most so many dB below the loudest one.
_DIP, _WEAKEST_NUCLEUS = 1.5, 25.0
# Frames whose spectra are in memory together: 2 MB.
_FRAMES_AT_ONCE = 1000


class SpeechActivity(NamedTuple):
    """
    Store what was found in a recording.

    Args:
        intervals (`list[tuple[float, float]]`): Start and end of each stretch between two pauses, in seconds, in
            order; at least one.
        nuclei (`np.ndarray`): Flags of the frames at which a syllable is loudest, of shape `(frames,)`. A frame has
            [`FRAME_SECONDS`].
        sibilants (`np.ndarray`): Flags of the frames in which high frequencies prevail, of shape `(frames,)`.
    """

    intervals: list[tuple[float, float]]
    nuclei: np.ndarray
    sibilants: np.ndarray


def speech_activity(samples: np.ndarray) -> SpeechActivity:
    """
    Find the pauses, the nuclei of syllables and the sibilants of a recording.

    Args:
        samples (`np.ndarray`): Samples of shape `(samples,)`, float32, 16 kHz, not empty.
    """
    vowels, voiced, high = _bands(samples)
    sibilants = (high > voiced) & (high > np.median(high))
    return SpeechActivity(speech_intervals(samples), _nuclei(vowels), sibilants)


def speech_intervals(samples: np.ndarray) -> list[tuple[float, float]]:
    """
    Return the stretches of a recording between its pauses; the whole recording if no pause differs from the speech.

    Args:
        samples (`np.ndarray`): Samples of shape `(samples,)`, float32, 16 kHz, not empty.

    Returns:
        `list[tuple[float, float]]`: Start and end of each stretch, in seconds, in order; at least one.
    """
    whole = [(0.0, seconds(samples))]
    levels = _levels(samples)
    floor, speech = np.quantile(levels, [_FLOOR_QUANTILE, _SPEECH_QUANTILE])
    if speech - floor < _LEAST_CONTRAST:
        return whole
    loud = levels > max(speech - _BELOW_SPEECH, floor + _ABOVE_FLOOR * (speech - floor))
    for start, end in _runs(~loud):
        if end - start < round(SHORTEST_PAUSE / FRAME_SECONDS) and start > 0 and end < len(loud):
            loud[start:end] = True
    runs = [(start, end) for start, end in _runs(loud) if end - start >= round(_SHORTEST_SPEECH / FRAME_SECONDS)]
    return [(start * FRAME_SECONDS, min(end * FRAME_SECONDS, whole[0][1])) for start, end in runs] or whole


def _levels(samples: np.ndarray) -> np.ndarray:
    """Return the level of each frame, with a quarter of both neighbors, in dB of full scale."""
    step = round(FRAME_SECONDS * SAMPLING_RATE)
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    starts = np.arange(0, len(samples), step)
    first, last = np.maximum(starts - step // 4, 0), np.minimum(starts + step + step // 4, len(samples))
    return 10 * np.log10((energy[last] - energy[first]) / (last - first) + 1e-12)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return the first frame and the frame after the last of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _bands(samples: np.ndarray) -> np.ndarray:
    """Return the energies of vowels, of voiced sounds and of sibilants in each frame, of shape `(3, frames)`."""
    step = round(FRAME_SECONDS * SAMPLING_RATE)
    before = (_WINDOW - step) // 2
    count = -(-len(samples) // step)
    padded = np.pad(samples, (before, _WINDOW + step)).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::step][:count]
    window = np.hanning(_WINDOW).astype(np.float32)
    energies = np.zeros((3, count))
    for start in range(0, count, _FRAMES_AT_ONCE):
        spectrum = np.abs(np.fft.rfft(frames[start : start + _FRAMES_AT_ONCE] * window, axis=1)) ** 2
        for band, bins in enumerate((_VOWELS, _VOICED, _SIBILANTS)):
            energies[band, start : start + len(spectrum)] = spectrum[:, bins].sum(axis=1)
    return energies


def _nuclei(vowels: np.ndarray) -> np.ndarray:
    """Return flags of the local maxima of the level of vowels that dips separate."""
    level = np.convolve(10 * np.log10(vowels + 1e-9), [0.25, 0.5, 0.25], "same")
    peaks = 1 + np.flatnonzero((level[1:-1] >= level[:-2]) & (level[1:-1] > level[2:]))
    found: list[int] = []
    for peak in peaks[level[peaks] >= level.max() - _WEAKEST_NUCLEUS]:
        if found:
            dip = level[found[-1] : peak + 1].min()
            if min(level[found[-1]], level[peak]) - dip < _DIP:
                if level[peak] > level[found[-1]]:
                    found[-1] = int(peak)
                continue
        found.append(int(peak))
    flags = np.zeros(len(level), bool)
    flags[found] = True
    return flags
