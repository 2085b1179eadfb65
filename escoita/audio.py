"""Any recording becomes mono float32 samples at 16 kHz, or an error that names the file."""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from escoita.errors import AudioError


if TYPE_CHECKING:
    from av.container import InputContainer


SAMPLING_RATE = 16_000
# Nothing can be said in less, and a feature extractor may make no frame of it.
SHORTEST_SECONDS = 0.05
# By so much a manifest may name more than there is.
ROUNDED_SECONDS = 0.05
# What libsndfile says of a flac whose header does not say how long it is.
UNKNOWN_FRAMES = 2**62
# Of mp3, in bytes; the first one tells how long the recording is.
LONGEST_FRAME = 1441
# FFmpeg also plays lists (HLS, concat, DASH), which name other files: a visitor's could name one of this machine.
CONTAINERS = "mov,matroska,aac,flac,mp3,ogg,wav,aiff,caf,amr,asf,avi,flv,ac3,mpegts,mpeg"
# Root mean square under which nothing can be heard: -60 dB of full scale.
SILENCE_LEVEL = 1e-3


def read_audio(
    source: str | Path | bytes, name: str | None = None, offset: float = 0.0, duration: float | None = None
) -> np.ndarray:
    """
    Decodes a recording, or a part of it.

    soundfile reads wav, flac, ogg, opus and mp3; what it does not know (m4a, webm, mp4), or would not read to its end
    (an mp3 that does not tell its length), is read by PyAV, whose wheels carry FFmpeg. Channels are averaged, other
    rates resampled.

    Args:
        source (`str`, `Path` or `bytes`): A path, or the encoded file itself.
        name (`str`, *optional*): What errors call the recording; the path unless given.
        offset (`float`, *optional*, defaults to 0): Where the part begins, in seconds.
        duration (`float`, *optional*): Its length in seconds; to the end of the recording unless given.

    Returns:
        `np.ndarray`: Samples of shape `(samples,)`, float32, 16 kHz, finite.

    Raises:
        AudioError: The file is missing, cannot be decoded, is cut off, does not hold the part, holds no samples or
            too few, or holds samples that are not numbers.
    """
    name = name or (str(source) if not isinstance(source, bytes) else "audio")
    if not isinstance(source, bytes) and not os.path.isfile(source):
        raise AudioError(name, "no such file")
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with soundfile.SoundFile(opened) as file:
            if not _tells_length(file, source):
                raise ValueError
            rate, part = file.samplerate, _part(offset, duration, file.frames, file.samplerate, name)
            if part.start:
                file.seek(part.start)
            samples = file.read(len(part), dtype="float32")
            if len(samples) < len(part) - ROUNDED_SECONDS * rate:
                raise AudioError(name, f"is cut off: its header tells of {file.frames / rate:.2f} s")
    # TypeError: it is called .raw; MemoryError: a damaged header tells of more than any recording holds.
    except (soundfile.LibsndfileError, TypeError, ValueError, MemoryError):
        samples, rate = _read_with_av(source, name)
        part = _part(offset, duration, len(samples), rate, name)
        samples = samples[part.start : part.stop]
    if samples.ndim > 1:
        samples = samples.mean(axis=1)
    if not np.isfinite(samples).all():
        raise AudioError(name, "holds samples that are not numbers (NaN or infinite)")
    if rate != SAMPLING_RATE:
        samples = soxr.resample(samples, rate, SAMPLING_RATE)
    if len(samples) == 0:
        raise AudioError(name, "holds no samples")
    if seconds(samples) < SHORTEST_SECONDS:
        raise AudioError(name, f"is shorter than {SHORTEST_SECONDS} s")
    return np.ascontiguousarray(samples, dtype=np.float32)


def read_audible(path: str | Path) -> np.ndarray:
    """
    Decodes a recording in which something can be heard; see [`read_audio`].

    Raises:
        AudioError: It cannot be read, or nothing can be heard in it.
    """
    samples = read_audio(path)
    if is_silent(samples):
        raise AudioError(Path(path).name, "nothing can be heard in it")
    return samples


def is_silent(samples: np.ndarray) -> bool:
    """Whether nothing can be heard: the root mean square lies under -60 dB of full scale."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) < SILENCE_LEVEL


def seconds(samples: np.ndarray) -> float:
    """Length of samples at 16 kHz."""
    return len(samples) / SAMPLING_RATE


def is_longer(path: Path, limit: float) -> bool:
    """
    Whether a recording is longer than `limit` seconds, from its header, or else decoded no further than the limit.

    A file that cannot be read is not: decoding it says why.
    """
    try:
        with soundfile.SoundFile(path) as file:
            if _tells_length(file, path):
                return bool(file.frames / file.samplerate > limit)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a file called .raw
        pass
    import av

    heard = 0.0
    try:
        with _opened_by_av(path) as container:
            for frame in container.decode(audio=0):
                heard += frame.samples / frame.sample_rate
                if heard > limit:
                    return True
    except (av.FFmpegError, IndexError, ValueError):
        pass
    return False


def _tells_length(file: soundfile.SoundFile, source: str | Path | bytes) -> bool:
    """Whether a header does; of an mp3 without one libsndfile guesses by the first frame, and reads no further."""
    if file.format != "MP3":
        return bool(file.frames < UNKNOWN_FRAMES)
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as encoded:
        tag = encoded.read(10)  # may come before the first frame; of four bytes seven bits each are its length
        length = sum(byte << bits for byte, bits in zip(tag[6:], (21, 14, 7, 0), strict=False))
        encoded.seek(10 + length if tag.startswith(b"ID3") else 0)
        first = encoded.read(LONGEST_FRAME)
    return any(mark in first for mark in (b"Xing", b"Info", b"VBRI"))


def _part(offset: float, duration: float | None, frames: int, rate: int, name: str) -> range:
    """The frames of a part; a manifest may round its ends, but not name what is not there."""
    start = round(offset * rate)
    stop = frames if duration is None else start + round(duration * rate)
    if start < 0 or stop < start or (start, stop) != (0, frames) and stop > frames + ROUNDED_SECONDS * rate:
        wanted = f"from {offset:g} s" + (f" for {duration:g} s" if duration is not None else "")
        raise AudioError(name, f"holds {frames / rate:.2f} s, not the part {wanted}")
    return range(start, min(stop, frames))


def _read_with_av(source: str | Path | bytes, name: str) -> tuple[np.ndarray, int]:
    import av

    try:
        with _opened_by_av(source) as container:
            resampler = av.AudioResampler(format="fltp")
            frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise AudioError(name, "not a recording that can be read; convert it to wav, flac, ogg, mp3 or m4a") from error
    if not frames:
        raise AudioError(name, "holds no samples")
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1).T, frames[0].sample_rate


def _opened_by_av(source: str | Path | bytes) -> "InputContainer":
    import av

    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    return av.open(file, "r", container_options={"format_whitelist": CONTAINERS})
