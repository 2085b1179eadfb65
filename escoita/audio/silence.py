"""Decide whether a recording has audible content: neither digital silence, nor dither, nor faint stationary noise."""

from functools import cache

import numpy as np

from escoita.audio.decoding import BLOCK_SAMPLES, SAMPLING_RATE


# Root mean square from which every recording counts as audible: -40 dB of full scale. The dither of an 8-bit file lies
# at -44 to -48 dB.
LOUD_LEVEL = 1e-2
# Root mean square under which stationary sounds, such as hum, count as silence: -60 dB of full scale.
SILENCE_LEVEL = 1e-3
# Level of the loudest frame under which a recording is silent: -80 dB of full scale, three steps of a 16-bit file.
# The dither of a 16-bit file lies at -91 to -99 dB; the loudest frames of speech at -67 dB lie at -58 to -67 dB.
FAINT_LEVEL = 1e-4
# Frames below -100 dB are digital silence, which other recordings are padded with.
DIGITAL_SILENCE = 1e-5
# Loudest frame compared with the quiet ones, in dB, after each band is divided by its noise floor. Measured: white
# noise and dither of 0.3 to 60 s at most 3.3 dB; 88 cuts of FLEURS of 0.2 to 0.5 s at least 6.5 dB, whole clips at
# least 31 dB.
LEAST_CONTRAST = 5.0
# Spectral flatness of the mean spectrum (geometric by arithmetic mean). Measured: dither at least 0.89, pink noise
# 0.72; speech at most 0.22.
NOISE_FLATNESS = 0.5
# The share of frames that are quieter than the noise floor.
_FLOOR_QUANTILE = 0.1
# The telephone band, which contains speech at every sampling rate.
_LOWEST_HERTZ, _HIGHEST_HERTZ = 200, 3_800
_WINDOW, _BANDS = 512, 15
# Frames whose spectra are in memory together: 1 MB.
_FRAMES_AT_ONCE = 512


def is_silent(samples: np.ndarray) -> bool:
    """
    Decide whether a recording has no audible content.

    A level alone does not suffice: the dither of an 8-bit file is louder than quiet speech of a 24-bit file. A
    recording over [`LOUD_LEVEL`] is audible. A quieter one is silent if no frame reaches [`FAINT_LEVEL`], or if it is
    stationary and either has the flat spectrum of noise or lies under [`SILENCE_LEVEL`]. A constant offset does not
    count.

    Args:
        samples (`np.ndarray`): The samples, of shape `(samples,)`, float32, 16 kHz.
    """
    level = _level(samples)
    if level >= LOUD_LEVEL:
        return False
    bands, spectrum = _spectra(samples)
    totals = bands.sum(axis=1, dtype=np.float64)
    if totals.max() < FAINT_LEVEL**2:
        return True
    bands = bands[totals > DIGITAL_SILENCE**2]
    floor = np.quantile(bands, _FLOOR_QUANTILE, axis=0)
    # A band that a filter removed has no noise floor.
    whitened = (bands / np.maximum(floor, DIGITAL_SILENCE**2 / _BANDS)).mean(axis=1)
    contrast = 10 * np.log10(whitened.max() / np.quantile(whitened, _FLOOR_QUANTILE))
    flatness = np.exp(np.log(spectrum + 1e-30).mean()) / (spectrum.mean() + 1e-30)
    return bool(contrast < LEAST_CONTRAST and (flatness > NOISE_FLATNESS or level < SILENCE_LEVEL))


def _level(samples: np.ndarray) -> float:
    """Return the root mean square around the mean."""
    # In blocks: the squares of half an hour would take 230 MB.
    blocks = [samples[start : start + BLOCK_SAMPLES] for start in range(0, len(samples), BLOCK_SAMPLES)]
    energy = sum(float(np.square(block, dtype=np.float64).sum()) for block in blocks) / len(samples)
    mean = sum(float(block.sum(dtype=np.float64)) for block in blocks) / len(samples)
    return float(max(0.0, energy - mean**2) ** 0.5)


def _spectra(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean square of each frame in each band, of shape `(frames, bands)`, and the mean spectrum."""
    if len(samples) < _WINDOW:
        samples = np.pad(samples, (0, _WINDOW - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[:: _WINDOW // 2]
    window, low, width = _layout()
    total = np.zeros(_BANDS * width)
    bands = np.zeros((len(frames), _BANDS), np.float32)
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        block = np.fft.rfft(frames[start : start + _FRAMES_AT_ONCE] * window, axis=1)[:, low : low + len(total)]
        powers = block.real**2 + block.imag**2
        bands[start : start + len(powers)] = powers.reshape(len(powers), _BANDS, width).sum(axis=2)
        total += powers.sum(axis=0, dtype=np.float64)
    return bands, total / len(frames)


@cache
def _layout() -> tuple[np.ndarray, int, int]:
    """Return a Hann window with a spectrum in units of mean square, the first bin, and the number of bins per band."""
    window = np.hanning(_WINDOW)
    window *= np.sqrt(2 / (np.square(window).sum() * _WINDOW))
    low, high = (hertz * _WINDOW // SAMPLING_RATE for hertz in (_LOWEST_HERTZ, _HIGHEST_HERTZ))
    return window.astype(np.float32), low, (high - low) // _BANDS
