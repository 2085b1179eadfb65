"""
Find the stretches of a recording that may contain speech, with their exact ends.

Energy finds what lies above the noise floor, and removes stretches of a second or more in which the spectrum does not
change: noise, hum, held tones and chords. Silero VAD, if it is installed, also removes what is not speech but changes,
such as music. Without it, music with notes under a second, clicks, steps, barking and the like are not distinguished
from speech, and so are sounds of under a second. A vowel that is held for a second or more counts as a tone.
"""

import numpy as np

from escoita.audio import silero
from escoita.audio.decoding import SAMPLING_RATE
from escoita.audio.silence import ABOVE_FLOOR, FLOOR_QUANTILE, HOP, WINDOW, band_energies
from escoita.records.transcript import SpeechDetector


# Start and end in samples.
Interval = tuple[int, int]
# A quiet stretch that is not longer belongs to the speech around it: the closure of a plosive is at most 0.16 s.
SHORTEST_PAUSE = 0.18
# A shorter sound is a click, or the edge of a tone.
_SHORTEST_SOUND, _SHORTEST_EDGE = 0.06, 0.15
# Fewer steps above the noise floor are a random burst of noise.
_SHORTEST_BURST = 3
# The samples of a step, in which energies are measured, and of the windows of low and of high frequencies. The window
# of low frequencies is a period of mains hum.
_STEP, _LOW_WINDOW, _HIGH_WINDOW = 80, 320, 160
# Lengths of the moving averages whose difference contains 150 Hz to 1 kHz, in samples.
_SHORT_MEAN, _LONG_MEAN = 8, 48
# Steps so many dB below the loud parts of the speech within ten seconds on either side are quiet, also if the noise
# floor is lower, as in recordings of which parts are digital silence.
_BELOW_SPEECH, _NEARBY_SECONDS, _LOUD_QUANTILE = 35.0, 10, 0.95
# The noise floor is at least -95 dB of full scale, under which there is digital silence only.
_LOWEST_FLOOR = -95.0
# The distance of two frames whose spectra are compared, 0.1 s, and the length of a steady stretch, in frames of HOP.
_LAG, _STEADY = 6, SAMPLING_RATE // HOP
# Root mean square of the changes of all bands between two frames, in dB, without the change of level; in a steady
# stretch it is smaller in four of five frames. Measured, the 80th percentile within a second: of FLEURS at least
# 4.1 dB (in one of a hundred seconds under 4.5 dB), of the clips of the quick starts 11.6 dB; of white and pink noise
# at most 3.8 dB, of chords 1.8 dB.
_STEADY_CHANGE, _STEADY_SHARE = 4.0, 0.8
# Bands so far below the loudest one are ignored.
_BAND_RANGE = 1e-4
# Silero VAD reports ends up to 0.2 s late or early; what is farther from its speech is not speech.
_SILERO_SECONDS = 0.25
# The samples that are filtered at once, a minute, and those around them that their filters need.
_BLOCK, _MARGIN = 60 * SAMPLING_RATE, 400


def speech_detector() -> SpeechDetector:
    """Return the detector that [`find_speech`] uses on this machine."""
    return "silero" if silero.is_installed() else "energy"


def find_speech(samples: np.ndarray, detector: SpeechDetector | None = None) -> list[Interval]:
    """
    Find the stretches that may contain speech.

    Args:
        samples (`np.ndarray`): The samples, of shape `(samples,)`, float32, 16 kHz.
        detector (`str`, *optional*): The detector, `silero` or `energy`. The default is that of [`speech_detector`].

    Returns:
        `list[tuple[int, int]]`: The start and the end of each stretch in samples, in order, separated by at least
        [`SHORTEST_PAUSE`]; empty if there is none.
    """
    if not len(samples):
        return []
    sounds = _bridged(_above_floor(samples))
    speech = sounds & ~_steady(samples, sounds)
    if (detector or speech_detector()) == "silero":
        speech &= _near_silero(samples, len(sounds))
    # An edge of a sound of which the rest was removed must be longer than a sound of its own.
    complete = set(_runs(sounds))
    found = []
    for start, end in _runs(speech):
        shortest = _SHORTEST_SOUND if (start, end) in complete else _SHORTEST_EDGE
        if end - start >= shortest * SAMPLING_RATE / _STEP:
            found.append((start * _STEP, min(end * _STEP, len(samples))))
    return found


def _above_floor(samples: np.ndarray) -> np.ndarray:
    """Return which steps lie above the noise floor, in low or in high frequencies, of shape `(steps,)`."""
    low, high = _levels(samples)
    floor_steps = low <= np.quantile(low, FLOOR_QUANTILE)
    flags = np.zeros(len(low), bool)
    for levels in (low, high):
        floor = max(float(np.median(levels[floor_steps])), _LOWEST_FLOOR)
        flags |= levels > np.maximum(floor + ABOVE_FLOOR, _nearby_loudness(levels) - _BELOW_SPEECH)
    return flags


def _levels(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels of each step in low and in high frequencies, in dB of full scale."""
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for start in range(0, len(samples), _BLOCK):
        first, last = max(0, start - _MARGIN), min(len(samples), start + _BLOCK)
        block = samples[first : last + _MARGIN].astype(np.float64)
        steps = np.arange(start - first, last - first, _STEP)
        low = _moving_mean(block, _SHORT_MEAN) - _moving_mean(block, _LONG_MEAN)
        found[0].append(_energies(low, steps, _LOW_WINDOW))
        found[1].append(_energies(np.diff(block, prepend=block[:1]), steps, _HIGH_WINDOW))
    low_levels, high_levels = (10 * np.log10(np.concatenate(energies) + 1e-12) for energies in found)
    return low_levels, high_levels


def _moving_mean(samples: np.ndarray, length: int) -> np.ndarray:
    sums = np.concatenate([np.zeros(1), np.cumsum(samples)])
    places = np.arange(len(samples))
    first, last = np.maximum(places - length // 2, 0), np.minimum(places + length - length // 2, len(samples))
    return (sums[last] - sums[first]) / (last - first)


def _energies(samples: np.ndarray, steps: np.ndarray, window: int) -> np.ndarray:
    """Return the mean square in a window around each step."""
    sums = np.concatenate([np.zeros(1), np.cumsum(np.square(samples))])
    margin = (window - _STEP) // 2
    first, last = np.maximum(steps - margin, 0), np.minimum(steps + _STEP + margin, len(samples))
    return np.maximum(sums[last] - sums[first], 0) / (last - first)


def _nearby_loudness(levels: np.ndarray) -> np.ndarray:
    """Return the level of the loud parts around each step, of shape `(steps,)`."""
    second = SAMPLING_RATE // _STEP
    loudness = [
        np.quantile(
            levels[max(0, start - _NEARBY_SECONDS * second) : start + (_NEARBY_SECONDS + 1) * second : 4],
            _LOUD_QUANTILE,
        )
        for start in range(0, len(levels), second)
    ]
    return np.repeat(loudness, second)[: len(levels)]


def _bridged(flags: np.ndarray) -> np.ndarray:
    """Return the flags without bursts, and with short gaps between true flags filled."""
    filled = flags.copy()
    for start, end in _runs(flags):
        if end - start < _SHORTEST_BURST:
            filled[start:end] = False
    for start, end in _runs(~filled):
        if end - start < SHORTEST_PAUSE * SAMPLING_RATE / _STEP and start > 0 and end < len(flags):
            filled[start:end] = True
    return filled


def _steady(samples: np.ndarray, sounds: np.ndarray) -> np.ndarray:
    """Return the steps in stretches of sound of a second or more whose spectrum does not change."""
    levels = _band_levels(samples)
    steady = np.zeros(len(levels), bool)
    if len(levels) > _LAG:
        differences = levels[_LAG:] - levels[:-_LAG]
        differences -= differences.mean(axis=1, keepdims=True)
        half = _LAG // 2
        steady[half : half + len(differences)] = np.sqrt(np.square(differences).mean(axis=1)) < _STEADY_CHANGE
    # What is not a sound is not part of a steady one: the end of a word before a pause must not be removed.
    middles = (np.arange(len(levels)) * HOP + WINDOW // 2) // _STEP
    steady &= sounds[np.minimum(middles, len(sounds) - 1)]
    counts = np.concatenate([[0], np.cumsum(steady)])
    long = counts[_STEADY:] - counts[:-_STEADY] >= _STEADY_SHARE * _STEADY
    # The start of each steady second counts up, the frame after its end down.
    changes = np.zeros(len(levels) + 1, np.int64)
    changes[: len(long)] += long
    changes[_STEADY : _STEADY + len(long)] -= long
    within = np.cumsum(changes)[:-1] > 0
    flags = np.zeros(len(levels), bool)
    for start, end in _runs(within):
        frames = start + np.flatnonzero(steady[start:end])
        flags[frames[0] : frames[-1] + 1] = True
    return flags[np.minimum((np.arange(len(sounds)) * _STEP + _STEP // 2) // HOP, len(flags) - 1)]


def _band_levels(samples: np.ndarray) -> np.ndarray:
    """Return the level of each band in each frame, in dB, of shape `(frames, bands)`."""
    energies = band_energies(samples)
    return 10 * np.log10(energies + _BAND_RANGE * energies.max(axis=1, keepdims=True) + np.float32(1e-12))


def _near_silero(samples: np.ndarray, steps: int) -> np.ndarray:
    """Return the steps that are near the speech that Silero VAD finds."""
    flags = np.zeros(steps, bool)
    for start, end in _runs(silero.speech_frames(samples)):
        margin = _SILERO_SECONDS * SAMPLING_RATE
        first, last = start * silero.FRAME - margin, end * silero.FRAME + margin
        flags[max(0, int(first) // _STEP) : int(last) // _STEP] = True
    return _bridged(flags)


def _runs(flags: np.ndarray) -> list[Interval]:
    """Return the first place and the place after the last of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
