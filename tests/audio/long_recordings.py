"""Make long recordings of the quick starts' test clips, with pauses, noise, hum and chords between them."""

import json
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from escoita.audio.loading import SAMPLING_RATE, read_audio
from tests.samples import tone


CORPORA = Path(__file__).parents[2] / "quickstart/corpus"
PAUSE_SECONDS = (0.2, 2.5)
HUM_SECONDS, CHORD_SECONDS = 3.0, 1.5
# Semitones of the chords of a cadence.
CHORDS = ((0, 4, 7), (5, 9, 12), (7, 11, 14))


class LongRecording(NamedTuple):
    """
    Store a recording of joined clips.

    Args:
        samples (`np.ndarray`): The samples, float32, 16 kHz.
        clips (`list[tuple[int, int]]`): The start and end of each clip in samples.
        texts (`list[str]`): The transcripts of the clips.
    """

    samples: np.ndarray
    clips: list[tuple[int, int]]
    texts: list[str]


def spoken_clips(language: str, count: int | None = None) -> tuple[list[np.ndarray], list[str]]:
    """Return the samples and the transcripts of the first test clips of a quick start."""
    lines = (CORPORA / language / "test.jsonl").read_text("utf-8").splitlines()[:count]
    rows = [json.loads(line) for line in lines]
    return [read_audio(CORPORA / language / row["audio_filepath"]) for row in rows], [row["text"] for row in rows]


def join(
    clips: list[np.ndarray], texts: list[str], pause: Literal["noise", "silence"], draw: np.random.Generator
) -> LongRecording:
    """
    Join clips with pauses of 0.2 to 2.5 s of pink noise at -50 dB or of digital silence.

    After every fifth clip there is hum or a cadence of chords.
    """
    parts: list[np.ndarray] = []
    places: list[tuple[int, int]] = []

    def add(samples: np.ndarray) -> None:
        parts.append(samples.astype(np.float32))

    def add_pause(seconds: float) -> None:
        samples = round(seconds * SAMPLING_RATE)
        add(pink_noise(samples, draw) if pause == "noise" else np.zeros(samples))

    add_pause(1.0)
    for number, clip in enumerate(clips, start=1):
        start = sum(map(len, parts))
        add(clip)
        places.append((start, start + len(clip)))
        add_pause(draw.uniform(*PAUSE_SECONDS))
        if number % 5 == 0:
            add(hum() if number % 10 else chords())
            add_pause(0.5)
    return LongRecording(np.concatenate(parts), places, texts)


def pink_noise(count: int, draw: np.random.Generator, decibels: float = -50.0) -> np.ndarray:
    """Return noise whose power falls with frequency, from 20 Hz on."""
    hertz = np.fft.rfftfreq(count, 1 / SAMPLING_RATE)
    spectrum = np.fft.rfft(draw.standard_normal(count)) / np.sqrt(np.maximum(hertz, 20))
    return at_level(np.fft.irfft(np.where(hertz < 20, 0, spectrum), count), decibels)


def hum(seconds: float = HUM_SECONDS, decibels: float = -35.0) -> np.ndarray:
    """Return mains hum with seven harmonics."""
    harmonics = [tone(50 * harmonic, seconds) / harmonic for harmonic in range(1, 9)]
    return at_level(np.sum(harmonics, axis=0), decibels)


def chords(seconds: float = CHORD_SECONDS, decibels: float = -25.0) -> np.ndarray:
    """Return a cadence of chords with six harmonics, each struck and decaying for so many seconds."""
    time = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    envelope = np.minimum(1, time / 0.02) * np.exp(-time / 2) * np.minimum(1, (seconds - time) / 0.02)
    cadence = [
        envelope
        * sum(
            tone(220 * 2 ** (semitone / 12) * harmonic, seconds) / harmonic**1.5
            for semitone in chord
            for harmonic in range(1, 7)
        )
        for chord in CHORDS
    ]
    return at_level(np.concatenate(cadence), decibels)


def at_level(samples: np.ndarray, decibels: float) -> np.ndarray:
    """Return samples with a root mean square in dB of full scale."""
    return samples * 10 ** (decibels / 20) / np.sqrt(np.mean(np.square(samples)))
