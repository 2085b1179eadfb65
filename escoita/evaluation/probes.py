"""Generate clips without speech. Every word that a model writes for them is a hallucination."""

from dataclasses import dataclass

import numpy as np

from escoita.audio.loading import SAMPLING_RATE


HUM_HERTZ = 50
RINGING_HERTZ = 425  # the telephone tone of most of Europe (ITU-T E.180)


@dataclass(frozen=True)
class Probe:
    """
    Store a clip without speech.

    Args:
        name (`str`): Name with the kind of sound, its level if there are several, and its length.
        samples (`np.ndarray`): Samples of shape `(samples,)`, float32, 16 kHz.
    """

    name: str
    samples: np.ndarray


def probes() -> list[Probe]:
    """
    Return the built-in probes, with the same bytes every time.

    Levels are the root mean square of the whole clip in dB of full scale.
    """
    made = {
        "silence, 1 s": _silence(1),
        "silence, 3 s": _silence(3),
        "silence, 10 s": _silence(10),
        "white noise at -60 dB, 5 s": _at(-60, _white_noise(5)),
        "white noise at -40 dB, 5 s": _at(-40, _white_noise(5)),
        "white noise at -20 dB, 5 s": _at(-20, _white_noise(5)),
        "pink noise, 8 s": _at(-30, _pink_noise(8)),
        "mains hum, 6 s": _at(-35, _hum(6)),
        "clicks, 4 s": _at(-40, _clicks(4)),
        "swelling noise, 10 s": _at(-25, _pink_noise(10) * _swell(10)),
        "beep, 1 s": _at(-20, _tone(1, 1000)),
        "ringing tone, 7 s": _at(-20, _tone(7, RINGING_HERTZ) * _on_and_off(7, on=1, off=4)),
        "busy tone, 3 s": _at(-20, _tone(3, RINGING_HERTZ) * _on_and_off(3, on=0.5, off=0.5)),
    }
    return [Probe(name, _as_recorded(samples)) for name, samples in made.items()]


def _silence(seconds: int) -> np.ndarray:
    return np.zeros(seconds * SAMPLING_RATE)


def _white_noise(seconds: int) -> np.ndarray:
    # The legacy generator: NumPy promises that its numbers never change.
    return np.random.RandomState(seconds).standard_normal(seconds * SAMPLING_RATE)


def _pink_noise(seconds: int) -> np.ndarray:
    """Return noise whose power falls with frequency, from 20 Hz on."""
    spectrum = np.fft.rfft(_white_noise(seconds))
    hertz = np.fft.rfftfreq(seconds * SAMPLING_RATE, 1 / SAMPLING_RATE)
    return np.fft.irfft(np.where(hertz < 20, 0, spectrum / np.sqrt(np.maximum(hertz, 20))))


def _hum(seconds: int) -> np.ndarray:
    """Return mains hum with its second and third harmonic."""
    return np.sum([_tone(seconds, HUM_HERTZ * harmonic) / harmonic for harmonic in (1, 2, 3)], axis=0)


def _clicks(seconds: int) -> np.ndarray:
    """Return two clicks a second, each of a few milliseconds."""
    since = _time(seconds) % 0.5
    return np.exp(-since / 0.001) * (since < 0.01)


def _swell(seconds: int) -> np.ndarray:
    """Return an envelope that rises from 0 to 1 and falls again."""
    return np.sin(np.pi * _time(seconds) / seconds) ** 2


def _tone(seconds: int, hertz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * _time(seconds))


def _on_and_off(seconds: int, on: float, off: float) -> np.ndarray:
    return _time(seconds) % (on + off) < on


def _time(seconds: int) -> np.ndarray:
    return np.arange(seconds * SAMPLING_RATE) / SAMPLING_RATE


def _at(decibels: float, samples: np.ndarray) -> np.ndarray:
    return samples * 10 ** (decibels / 20) / np.sqrt(np.mean(samples**2))


def _as_recorded(samples: np.ndarray) -> np.ndarray:
    # Rounded to 16 bits as in a file, because the last digits of sines and transforms differ between processors.
    return (np.round(samples * 2**15) / 2**15).astype(np.float32)
