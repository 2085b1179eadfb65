import hashlib

import numpy as np
import pytest

from escoita.audio.loading import SAMPLING_RATE
from escoita.evaluation.probes import Probe, probes


# Seconds and root mean square in dB of full scale of each probe.
EXPECTED = {
    "silence, 1 s": (1, None),
    "silence, 3 s": (3, None),
    "silence, 10 s": (10, None),
    "white noise at -60 dB, 5 s": (5, -60),
    "white noise at -40 dB, 5 s": (5, -40),
    "white noise at -20 dB, 5 s": (5, -20),
    "pink noise, 8 s": (8, -30),
    "mains hum, 6 s": (6, -35),
    "clicks, 4 s": (4, -40),
    "swelling noise, 10 s": (10, -25),
    "beep, 1 s": (1, -20),
    "ringing tone, 7 s": (7, -20),
    "busy tone, 3 s": (3, -20),
}
PROBES = {probe.name: probe for probe in probes()}


def loudest_hertz(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * SAMPLING_RATE / len(samples))


def power(samples: np.ndarray, low: int, high: int) -> float:
    """Return the power between two frequencies."""
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLING_RATE)
    return float(spectrum[(hertz >= low) & (hertz < high)].sum())


def moment(probe: str, at: float) -> np.ndarray:
    """Return a quarter of a second of a probe."""
    start = int(at * SAMPLING_RATE)
    return PROBES[probe].samples[start : start + SAMPLING_RATE // 4]


def test_names() -> None:
    assert [probe.name for probe in probes()] == list(EXPECTED)


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_lengths_and_levels(probe: Probe) -> None:
    length, level = EXPECTED[probe.name]
    assert probe.samples.dtype == np.float32
    assert probe.samples.shape == (length * SAMPLING_RATE,)
    assert np.abs(probe.samples).max() < 0.5
    if level is None:
        assert not probe.samples.any()
    else:
        assert 10 * np.log10(np.mean(probe.samples.astype(float) ** 2)) == pytest.approx(level, abs=0.01)


def test_the_same_bytes_every_time() -> None:
    samples = b"".join(probe.samples.tobytes() for probe in probes())
    assert hashlib.sha256(samples).hexdigest() == "a68ec81bc337eb61451c82d3e72c095dc264941068634ca602bf432f6614629a"


@pytest.mark.parametrize(
    "probe, hertz", [("mains hum, 6 s", 50), ("beep, 1 s", 1000), ("ringing tone, 7 s", 425), ("busy tone, 3 s", 425)]
)
def test_tones(probe: str, hertz: int) -> None:
    assert loudest_hertz(PROBES[probe].samples) == hertz


def test_pink_noise_has_equal_power_in_each_octave() -> None:
    for probe, ratio in (("pink noise, 8 s", 1.0), ("white noise at -20 dB, 5 s", 2.0)):
        samples = PROBES[probe].samples
        assert power(samples, 2000, 4000) / power(samples, 1000, 2000) == pytest.approx(ratio, rel=0.1)


def test_envelopes_of_tones_noise_and_clicks() -> None:
    assert moment("ringing tone, 7 s", 0.5).any() and moment("ringing tone, 7 s", 5.5).any()
    assert not moment("ringing tone, 7 s", 2).any()
    assert moment("busy tone, 3 s", 0.1).any() and not moment("busy tone, 3 s", 0.6).any()
    assert moment("swelling noise, 10 s", 5).std() > 10 * moment("swelling noise, 10 s", 0).std()
    assert moment("clicks, 4 s", 0.5).max() > 0.2 and not moment("clicks, 4 s", 0.6).any()
