"""Decide whether a recording has content above its noise floor, more than digital silence, dither, noise or hum."""

from functools import cache

import numpy as np

from escoita.audio.decoding import BLOCK_SAMPLES, SAMPLING_RATE


# Decibels above the noise floor of its recording from which a sound may be speech. It decides whether rows, uploads
# and recordings of the page are silent, and where the segments of a long recording begin and end. Measured, after each
# band is divided by its noise floor: the loudest frame of white noise and dither of 0.3 to 60 s lies at most 3.3 dB
# above the quiet frames; that of 88 cuts of FLEURS of 0.2 to 0.5 s at least 6.5 dB, of whole clips at least 31 dB.
ABOVE_FLOOR = 5.0
# The share of frames that are quieter than the noise floor.
FLOOR_QUANTILE = 0.1
# Level of the loudest frame under which a recording is silent: -80 dB of full scale, three steps of a 16-bit file.
# The dither of a 16-bit file lies at -91 to -99 dB; the loudest frames of speech at -67 dB lie at -58 to -67 dB.
FAINT_LEVEL = 1e-4
# Frames below -100 dB are digital silence, which other recordings are padded with.
DIGITAL_SILENCE = 1e-5
# A clip that is shorter may hold one steady vowel, which has no noise floor of its own: it counts as audible from a
# root mean square of -40 dB of full scale on. The dither of an 8-bit file lies at -44 to -48 dB.
STEADY_SECONDS = 1.0
LOUD_LEVEL = 1e-2
# The telephone band, which contains speech at every sampling rate.
_LOWEST_HERTZ, _HIGHEST_HERTZ = 200, 3_800
# Samples of a frame, of a step between frames, and the number of bands.
WINDOW, HOP, BANDS = 512, 256, 15
# Frames whose spectra are in memory together: 1 MB.
_FRAMES_AT_ONCE = 512


def is_silent(samples: np.ndarray) -> bool:
    """
    Decide whether a recording has no audible content above its noise floor.

    A level does not suffice: the dither of an 8-bit file is louder than quiet speech of a 24-bit file. A recording is
    silent if no frame reaches [`FAINT_LEVEL`], or if no frame lies [`ABOVE_FLOOR`] over its quiet frames, as in noise
    and hum of any level. A clip under [`STEADY_SECONDS`] must also lie under [`LOUD_LEVEL`]. A constant offset does
    not count.

    Sounds that vary, such as music, clicks, steps and noise that swells, are not distinguished from speech. A vowel
    that is held steadily for a whole recording of a second or more is not distinguished from hum.

    Args:
        samples (`np.ndarray`): The samples, of shape `(samples,)`, float32, 16 kHz.
    """
    if len(samples) < STEADY_SECONDS * SAMPLING_RATE and _level(samples) >= LOUD_LEVEL:
        return False
    bands = band_energies(samples)
    totals = bands.sum(axis=1, dtype=np.float64)
    if totals.max() < FAINT_LEVEL**2:
        return True
    bands = bands[totals > DIGITAL_SILENCE**2]
    floor = np.quantile(bands, FLOOR_QUANTILE, axis=0)
    # A band that a filter removed has no noise floor.
    whitened = (bands / np.maximum(floor, DIGITAL_SILENCE**2 / BANDS)).mean(axis=1)
    return bool(10 * np.log10(whitened.max() / np.quantile(whitened, FLOOR_QUANTILE)) < ABOVE_FLOOR)


def _level(samples: np.ndarray) -> float:
    """Return the root mean square around the mean."""
    # In blocks: the squares of half an hour would take 230 MB.
    blocks = [samples[start : start + BLOCK_SAMPLES] for start in range(0, len(samples), BLOCK_SAMPLES)]
    energy = sum(float(np.square(block, dtype=np.float64).sum()) for block in blocks) / len(samples)
    mean = sum(float(block.sum(dtype=np.float64)) for block in blocks) / len(samples)
    return float(max(0.0, energy - mean**2) ** 0.5)


def band_energies(samples: np.ndarray) -> np.ndarray:
    """
    Return the mean square of each frame in each band of the telephone band.

    Args:
        samples (`np.ndarray`): The samples, of shape `(samples,)`, 16 kHz.

    Returns:
        `np.ndarray`: The energies, of shape `(frames, bands)`, float32. Frame `n` begins at sample `n * HOP`.
    """
    if len(samples) < WINDOW:
        samples = np.pad(samples, (0, WINDOW - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    window, low, width = _layout()
    bands = np.zeros((len(frames), BANDS), np.float32)
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        block = np.fft.rfft(frames[start : start + _FRAMES_AT_ONCE] * window, axis=1)[:, low : low + BANDS * width]
        powers = block.real**2 + block.imag**2
        bands[start : start + len(powers)] = powers.reshape(len(powers), BANDS, width).sum(axis=2)
    return bands


@cache
def _layout() -> tuple[np.ndarray, int, int]:
    """Return a Hann window with a spectrum in units of mean square, the first bin, and the number of bins per band."""
    window = np.hanning(WINDOW)
    window *= np.sqrt(2 / (np.square(window).sum() * WINDOW))
    low, high = (hertz * WINDOW // SAMPLING_RATE for hertz in (_LOWEST_HERTZ, _HIGHEST_HERTZ))
    return window.astype(np.float32), low, (high - low) // BANDS
