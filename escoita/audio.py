"""Any recording becomes mono float32 samples at 16 kHz, or an error that names the file."""

import os
from pathlib import Path

import numpy as np

from escoita.decoding import BLOCK_SAMPLES, MAX_SECONDS, SAMPLING_RATE, Source, decode_with_av, decode_with_soundfile
from escoita.errors import AudioError


# Nothing can be said in less, and a feature extractor may make no frame of it.
SHORTEST_SECONDS = 0.05
# Root mean square under which nothing can be heard: -60 dB of full scale.
SILENCE_LEVEL = 1e-3


def read_audio(
    source: Source,
    name: str | None = None,
    offset: float = 0.0,
    duration: float | None = None,
    max_seconds: float = MAX_SECONDS,
) -> np.ndarray:
    """
    Decodes a recording, or a segment of it.

    soundfile reads wav, flac, ogg, opus and mp3; what it does not know (m4a, webm, mp4), or would not read to its end
    (an mp3 that does not declare its length), is read by PyAV, whose wheels carry FFmpeg. Decoding is in blocks:
    channels are averaged and other rates resampled at once, so that memory holds no more than the samples that are
    returned and a block.

    Args:
        source (`str`, `Path` or `bytes`): A path, or the encoded file itself.
        name (`str`, *optional*): What errors call the recording; the path unless given.
        offset (`float`, *optional*, defaults to 0): Where the segment begins, in seconds.
        duration (`float`, *optional*): Its length in seconds; to the end of the recording unless given.
        max_seconds (`float`, *optional*, defaults to six hours): The longest recording or segment. It also limits the
            samples of all channels, to [`~escoita.decoding.SAMPLES_PER_SECOND`] for each of these seconds.

    Returns:
        `np.ndarray`: Samples of shape `(samples,)`, float32, 16 kHz, finite.

    Raises:
        AudioError: The file is missing, cannot be decoded, is cut off, does not hold the segment, holds no samples or
            too few, or holds samples that are not numbers.
        AudioLimitError: It is over a limit. If its header declares that, nothing is decoded.
    """
    name = name or (str(source) if not isinstance(source, bytes) else "audio")
    if not isinstance(source, bytes) and not os.path.isfile(source):
        raise AudioError(name, "no such file")
    samples = decode_with_soundfile(source, name, offset, duration, max_seconds)
    if samples is None:
        samples = decode_with_av(source, name, offset, duration, max_seconds)
    if len(samples) == 0:
        raise AudioError(name, "holds no samples")
    if seconds(samples) < SHORTEST_SECONDS:
        raise AudioError(name, f"is shorter than {SHORTEST_SECONDS} s")
    return samples


def read_audible(path: str | Path, max_seconds: float = MAX_SECONDS) -> np.ndarray:
    """
    Decodes a recording in which something can be heard; see [`read_audio`].

    Raises:
        AudioError: It cannot be read, or nothing can be heard in it.
    """
    samples = read_audio(path, max_seconds=max_seconds)
    if is_silent(samples):
        raise AudioError(Path(path).name, "nothing can be heard in it")
    return samples


def is_silent(samples: np.ndarray) -> bool:
    """Whether nothing can be heard: the root mean square lies under -60 dB of full scale."""
    # In blocks: the squares of half an hour would take 230 MB.
    blocks = (samples[start : start + BLOCK_SAMPLES] for start in range(0, len(samples), BLOCK_SAMPLES))
    energy = sum(float(np.square(block, dtype=np.float64).sum()) for block in blocks)
    return (energy / len(samples)) ** 0.5 < SILENCE_LEVEL


def seconds(samples: np.ndarray) -> float:
    """Length of samples at 16 kHz."""
    return len(samples) / SAMPLING_RATE
