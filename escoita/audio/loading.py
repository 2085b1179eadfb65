"""Read recordings as mono float32 samples at 16 kHz."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from escoita.audio.decoding import (
    MAX_SECONDS,
    SAMPLING_RATE,
    Decoded,
    Source,
    TruncatedAudioError,
    check_size,
    decode_with_soundfile,
    read_header,
)
from escoita.audio.ffmpeg import declared, decode_with_av, open_with_av
from escoita.audio.silence import is_silent
from escoita.errors import AudioError
from escoita.records.transcript import Note


# A shorter clip contains no word, and a feature extractor may produce no frame.
SHORTEST_SECONDS = 0.05


class SilentAudioError(AudioError):
    """Report a recording without audible content."""

    problem = "no audible content"


class Recording(NamedTuple):
    """
    Store a decoded recording, or a segment of it, and properties found during decoding.

    Args:
        samples (`np.ndarray`): The samples, of shape `(samples,)`, float32, 16 kHz, finite.
        channel (`int`, *optional*): The number of the channel, from 1, that was used because mixing cancels or
            attenuates it; `None` if all channels were mixed.
        cut_off (`str`): A message about the truncation of the file; empty if it is complete.
    """

    samples: np.ndarray
    channel: int | None = None
    cut_off: str = ""

    @property
    def notes(self) -> tuple[Note, ...]:
        """Return notes for the user, as keys of [`~escoita.records.transcript.NOTES`]."""
        found: dict[Note, bool] = {"cut_off": bool(self.cut_off), "one_channel": self.channel is not None}
        return tuple(note for note, holds in found.items() if holds)


def read_audio(
    source: Source,
    name: str | None = None,
    offset: float = 0.0,
    duration: float | None = None,
    max_seconds: float = MAX_SECONDS,
) -> np.ndarray:
    """
    Decode a recording, or a segment of it.

    soundfile reads wav, flac, ogg, opus and mp3. PyAV, whose wheels include FFmpeg, reads other formats (m4a, webm,
    mp4), and files that soundfile would not read to their end (an mp3 that does not declare its length). Files are
    decoded in blocks that are mixed and resampled immediately, so that memory contains only the returned samples and
    one block. If mixing the channels cancels or attenuates one of them, that channel is used; see
    [`~escoita.audio.decoding.ChannelEnergies`].

    Args:
        source (`str`, `Path` or `bytes`): The path of a file, or its content.
        name (`str`, *optional*): The name of the recording in errors. Defaults to the path.
        offset (`float`, *optional*, defaults to 0): The start of the segment in seconds.
        duration (`float`, *optional*): The length of the segment in seconds. Defaults to the rest of the recording.
        max_seconds (`float`, *optional*, defaults to six hours): The maximum length of the recording or segment. It
            also limits the samples of all channels, to [`~escoita.audio.decoding.SAMPLES_PER_SECOND`] per second.

    Returns:
        `np.ndarray`: Samples of shape `(samples,)`, float32, 16 kHz, finite.

    Raises:
        AudioError: The file is missing, cannot be decoded, is truncated, does not contain the segment, contains no
            samples or too few, or contains NaN or infinity.
        AudioLimitError: The recording exceeds a limit. If the header declares that, nothing is decoded.
    """
    recording = read_recording(source, name, offset, duration, max_seconds)
    if recording.cut_off:
        raise TruncatedAudioError(recording.cut_off, path=_name(source, name))
    return recording.samples


def read_recording(
    source: Source,
    name: str | None = None,
    offset: float = 0.0,
    duration: float | None = None,
    max_seconds: float = MAX_SECONDS,
) -> Recording:
    """
    Decode a recording, or a segment of it, also if its file is truncated.

    The arguments are those of [`read_audio`].

    Returns:
        [`Recording`]: The samples, the channel that was used, and a message if the file is truncated.

    Raises:
        AudioError: See [`read_audio`], except for a truncated file.
    """
    name = _name(source, name)
    if not isinstance(source, bytes) and not os.path.isfile(source):
        raise AudioError("no such file", path=name)
    arguments = (source, name, offset, duration, max_seconds)
    decoded, channel = _decode(*arguments), None
    if decoded.better_channel is not None:
        channel = decoded.better_channel
        decoded = _decode(*arguments, channel)
    if seconds(decoded.samples) < SHORTEST_SECONDS:
        if decoded.cut_off:
            raise TruncatedAudioError(decoded.cut_off, path=name)
        empty = len(decoded.samples) == 0
        raise AudioError("holds no samples" if empty else f"is shorter than {SHORTEST_SECONDS} s", path=name)
    return Recording(decoded.samples, None if channel is None else channel + 1, decoded.cut_off)


def read_audible(path: str | Path, max_seconds: float = MAX_SECONDS) -> Recording:
    """
    Decode a recording that is not silent, also if its file is truncated; see [`read_recording`].

    Raises:
        AudioError: The recording cannot be read.
        SilentAudioError: The recording is silent.
    """
    recording = read_recording(path, max_seconds=max_seconds)
    if is_silent(recording.samples):
        raise SilentAudioError(path=Path(path).name)
    return recording


def seconds(samples: np.ndarray) -> float:
    """Return the length of samples at 16 kHz in seconds."""
    return len(samples) / SAMPLING_RATE


def _name(source: Source, name: str | None) -> str:
    return name or (str(source) if not isinstance(source, bytes) else "audio")


def _decode(
    source: Source,
    name: str,
    offset: float,
    duration: float | None,
    max_seconds: float,
    channel: int | None = None,
) -> Decoded:
    arguments = (source, name, offset, duration, max_seconds, channel)
    try:
        return decode_with_soundfile(*arguments) or decode_with_av(*arguments)
    except OSError as error:  # the file may not be read, or is one of a system, such as /proc/self/mem
        raise AudioError(f"cannot be read ({error.strerror or error})", path=name) from error


def check_header(path: Path, max_seconds: float) -> None:
    """
    Check the header of a file against the limits, without decoding it. A file that cannot be read passes.

    Args:
        path (`Path`): The file.
        max_seconds (`float`): The maximum length of the recording.

    Raises:
        AudioLimitError: The declared recording is too long, or it has too many samples.
    """
    import av

    try:
        with soundfile.SoundFile(path) as file:
            header = read_header(file, path)
        if header is None:
            with open_with_av(path) as container:
                header = declared(container)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: the file name ends with .raw
        try:
            with open_with_av(path) as container:
                header = declared(container)
        except (av.FFmpegError, IndexError, ValueError):
            return
    except (av.FFmpegError, IndexError, ValueError):
        return
    if header is not None:
        check_size(path.name, header.frames, header.frames * header.channels, header.rate, max_seconds)
