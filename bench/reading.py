"""Measure the reading of segments of long recordings, and the scan of clips."""

import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np

from bench.clock import timed
from bench.measurement import Measurement
from bench.quickstart import load_clips
from escoita.audio import ffmpeg as decoding_av
from escoita.audio import fingerprint as fingerprints
from escoita.audio.decoding import MAX_SECONDS
from escoita.audio.loading import SAMPLING_RATE, read_audio
from escoita.data.clips import measure_clips
from escoita.utils.processes import say


MINUTES = 60.0
ROUNDS = 3
SEGMENT = 5.0
# Start times of the segments, as fractions of the last possible one.
PLACES = (0.02, 0.35, 0.65, 0.99)
FORMATS = {"m4a": "aac", "mp3": "libmp3lame", "webm": "libopus"}
# Number of frames in memory at once in an earlier version.
BEFORE = 2048


def measure_reading(minutes: float = MINUTES, rounds: int = ROUNDS) -> list[Measurement]:
    """
    Measure segments compared with decoding from the start, and a scan of clips compared with larger blocks.

    Args:
        minutes (`float`, *optional*, defaults to 60): Length of the recordings in minutes.
        rounds (`int`, *optional*, defaults to 3): Number of measurements of each, in alternation.
    """
    speech = np.concatenate([read_audio(path) for path in load_clips("uz").column("audio")[:160]])
    measurements = []
    with tempfile.TemporaryDirectory() as folder:
        for ending, codec in FORMATS.items():
            path = Path(folder) / f"long.{ending}"
            say(f"Reading: encoding {minutes:g} minutes as {ending}")
            encode(path, codec, speech, minutes * 60)
            measurements += _segments(path, minutes, rounds)
    return [*measurements, *_scans(rounds)]


def encode(path: Path, codec: str, speech: np.ndarray, length: float) -> None:
    """Write a recording of a length in seconds, in which the speech is repeated."""
    # An MP3 without a header that declares its length, which FFmpeg reads like the other formats.
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


def _scans(rounds: int) -> list[Measurement]:
    """Measure the scan of all clips in new processes, whose allocators are in the state of a real scan."""
    ours, theirs, differ = [], [], 0
    for number in range(1, rounds + 1):
        say(f"Reading: scanning clips, round {number} of {rounds}")
        (found, spent), (expected, before) = (_in_a_fresh_process(at_once) for at_once in (None, BEFORE))
        ours.append(spent)
        theirs.append(before)
        differ = sum(one != other for one, other in zip(found, expected, strict=True))
    ratio = median(their / our for their, our in zip(theirs, ours, strict=True))
    against = f"spectra of {BEFORE:,} frames in memory at once: {median(theirs):.3g} s of CPU"
    return [
        Measurement(f"Scan of {len(found):,} clips", ratio, "times as fast", against, at_least=1.2),
        Measurement("Scan, fingerprints that differ", differ, f"of {len(found):,}", against.split(":")[0], at_most=0),
    ]


def _in_a_fresh_process(at_once: int | None) -> tuple[list[bytes], float]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(scan, at_once).result()


def scan(at_once: int | None) -> tuple[list[bytes], float]:
    """
    Scan the clips of the quick start in this process, without a cache.

    Args:
        at_once (`int`, *optional*): Number of frames in memory at once (default: that of the package).

    Returns:
        `tuple[list[bytes], float]`: Fingerprints, and CPU time in seconds.
    """
    fingerprints._FRAMES_AT_ONCE = at_once or fingerprints._FRAMES_AT_ONCE
    clips = load_clips("uz")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ESCOITA_CACHE"] = folder
        measures, spent = timed(lambda: list(measure_clips(clips)))
    return [measure.fingerprint for measure in measures], spent.cpu
