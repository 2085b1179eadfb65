"""Reading segments of long recordings by seeking, and fingerprints of clips in small blocks."""

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np

from bench.clock import timed
from bench.measurement import Measurement
from bench.quickstart import clips_of
from escoita import decoding_av
from escoita.audio import SAMPLING_RATE, read_audio, seconds
from escoita.corpora import fingerprint as fingerprints
from escoita.decoding import MAX_SECONDS
from escoita.progress import say


MINUTES = 60.0
ROUNDS = 3
SEGMENT = 5.0
# Where segments begin, as shares of the time before the last one.
PLACES = (0.02, 0.35, 0.65, 0.99)
FORMATS = {"m4a": "aac", "mp3": "libmp3lame", "webm": "libopus"}
# Frames whose spectra were in memory together before.
BEFORE = 2048


def measure_reading(minutes: float = MINUTES, rounds: int = ROUNDS) -> list[Measurement]:
    """
    Measures segments against decoding from the start of the recording, and fingerprints against larger blocks.

    Args:
        minutes (`float`, *optional*, defaults to 60): Length of the recordings.
        rounds (`int`, *optional*, defaults to 3): How often one is measured after the other.
    """
    clips = [read_audio(path) for path in clips_of("uz").column("audio")[:160]]
    speech = np.concatenate(clips)
    measurements = []
    with tempfile.TemporaryDirectory() as folder:
        for ending, codec in FORMATS.items():
            path = Path(folder) / f"long.{ending}"
            say(f"Reading: encoding {minutes:g} minutes as {ending}")
            encode(path, codec, speech, minutes * 60)
            measurements += _segments(path, minutes, rounds)
    return [*measurements, *_fingerprints(clips, rounds)]


def encode(path: Path, codec: str, speech: np.ndarray, length: float) -> None:
    """Writes speech, again and again, until the recording has a length in seconds."""
    # An MP3 without a header that declares its length, which FFmpeg reads as it reads the others.
    with av.open(str(path), "w", container_options={"write_xing": "0"}) as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="mono")
        resampler = av.AudioResampler(stream.codec_context.format.name, "mono", 48_000)
        left = round(length * SAMPLING_RATE)
        while left > 0:
            frame = av.AudioFrame.from_ndarray(speech[None, :left], format="fltp", layout="mono")
            frame.sample_rate = SAMPLING_RATE
            left -= frame.samples
            for out in resampler.resample(frame):
                container.mux(stream.encode(out))
        for rest in [*resampler.resample(None), None]:
            container.mux(stream.encode(rest))


def _segments(path: Path, minutes: float, rounds: int) -> list[Measurement]:
    places = [place * (minutes * 60 - SEGMENT) for place in PLACES]
    ours, theirs, worst = [], [], 1.0
    for _ in range(rounds):
        found, spent = timed(lambda: [read_audio(path, offset=place, duration=SEGMENT) for place in places])
        ours.append(spent.cpu)
        expected, spent = timed(lambda: [_from_the_start(path, place) for place in places])
        theirs.append(spent.cpu)
        pairs = zip(found, expected, strict=True)
        worst = min(worst, *(float(np.corrcoef(one, other)[0, 1]) for one, other in pairs))
    ending, against = path.suffix[1:], f"decoding from the start: {1000 * median(theirs) / len(places):.0f} ms"
    ratio = median(their / our for their, our in zip(theirs, ours, strict=True))
    return [
        Measurement(f"Segments of a {ending} of {minutes:g} minutes", ratio, "times as fast", against, at_least=4),
        Measurement(f"Segments of a {ending}, least correlation", worst, "", "the same segment", at_least=0.999),
    ]


def _from_the_start(path: Path, offset: float) -> np.ndarray:
    part = (path, path.name, offset, SEGMENT, MAX_SECONDS, None)
    return decoding_av._decode(*part, skip=False).samples


def _fingerprints(clips: list[np.ndarray], rounds: int) -> list[Measurement]:
    at_once, ours, theirs, differ = fingerprints._FRAMES_AT_ONCE, [], [], 0
    try:
        for _ in range(rounds):
            fingerprints._FRAMES_AT_ONCE = at_once
            found, spent = timed(lambda: [fingerprints.fingerprint(clip) for clip in clips])
            ours.append(spent.cpu)
            fingerprints._FRAMES_AT_ONCE = BEFORE
            expected, spent = timed(lambda: [fingerprints.fingerprint(clip) for clip in clips])
            theirs.append(spent.cpu)
            differ = sum(one != other for one, other in zip(found, expected, strict=True))
    finally:
        fingerprints._FRAMES_AT_ONCE = at_once
    total = sum(map(seconds, clips))
    against = f"{BEFORE:,} frames: {1e6 * median(theirs) / total:.0f} µs"
    ratio = median(their / our for their, our in zip(theirs, ours, strict=True))
    return [
        Measurement(f"Fingerprints, {at_once} frames at once", ratio, "times as fast", against, at_least=1.2),
        Measurement("Fingerprints that differ", differ, f"of {len(clips)}", f"{BEFORE:,} frames", at_most=0),
    ]
