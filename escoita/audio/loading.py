"""Any recording becomes mono float32 samples at 16 kHz, or an error that names the file."""

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
    check_size,
    decode_with_soundfile,
    read_header,
)
from escoita.audio.ffmpeg import declared, decode_with_av, open_with_av
from escoita.audio.silence import is_silent
from escoita.errors import AudioError
from escoita.records.transcript import Note


# Nothing can be said in less, and a feature extractor may make no frame of it.
SHORTEST_SECONDS = 0.05


class Recording(NamedTuple):
    """
    A decoded recording, or a segment of one, and what was noticed while it was decoded.

    Args:
        samples (`np.ndarray`): Of shape `(samples,)`, float32, 16 kHz, finite.
        channel (`int`, *optional*): Number of the channel, from 1, that was used because mixing all channels cancels
            or attenuates it; none if all were mixed.
        cut_off (`str`): Why the file is not whole; empty if it is.
    """

    samples: np.ndarray
    channel: int | None = None
    cut_off: str = ""

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the user should know, as keys of [`~escoita.records.transcript.NOTES`]."""
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
    Decodes a recording, or a segment of it.

    soundfile reads wav, flac, ogg, opus and mp3; what it does not know (m4a, webm, mp4), or would not read to its end
    (an mp3 that does not declare its length), is read by PyAV, whose wheels carry FFmpeg. Decoding is in blocks:
    channels are averaged and other rates resampled at once, so that memory holds no more than the samples that are
    returned and a block. If the mean of the channels cancels or attenuates what one of them holds, that channel is
    used; see [`~escoita.audio.decoding.ChannelEnergies`].

    Args:
        source (`str`, `Path` or `bytes`): A path, or the encoded file itself.
        name (`str`, *optional*): What errors call the recording; the path unless given.
        offset (`float`, *optional*, defaults to 0): Where the segment begins, in seconds.
        duration (`float`, *optional*): Its length in seconds; to the end of the recording unless given.
        max_seconds (`float`, *optional*, defaults to six hours): The longest recording or segment. It also limits the
            samples of all channels, to [`~escoita.audio.decoding.SAMPLES_PER_SECOND`] for each of these seconds.

    Returns:
        `np.ndarray`: Samples of shape `(samples,)`, float32, 16 kHz, finite.

    Raises:
        AudioError: The file is missing, cannot be decoded, is cut off, does not hold the segment, holds no samples or
            too few, or holds samples that are not numbers.
        AudioLimitError: It is over a limit. If its header declares that, nothing is decoded.
    """
    recording = read_recording(source, name, offset, duration, max_seconds)
    if recording.cut_off:
        raise AudioError(recording.cut_off, path=_name(source, name))
    return recording.samples


def read_recording(
    source: Source,
    name: str | None = None,
    offset: float = 0.0,
    duration: float | None = None,
    max_seconds: float = MAX_SECONDS,
) -> Recording:
    """
    Decodes a recording, or a segment of it, also if its file is cut off.

    Args, and what else is raised, are those of [`read_audio`].

    Returns:
        [`Recording`]: The samples, and which channel was used and why the file is not whole.

    Raises:
        AudioError: As in [`read_audio`], but for a file that is cut off.
    """
    name = _name(source, name)
    if not isinstance(source, bytes) and not os.path.isfile(source):
        raise AudioError("no such file", path=name)
    part = (source, name, offset, duration, max_seconds)
    decoded, channel = _decode(*part), None
    if decoded.better_channel is not None:
        channel = decoded.better_channel
        decoded = _decode(*part, channel)
    if len(decoded.samples) == 0:
        raise AudioError(decoded.cut_off or "holds no samples", path=name)
    if seconds(decoded.samples) < SHORTEST_SECONDS:
        raise AudioError(decoded.cut_off or f"is shorter than {SHORTEST_SECONDS} s", path=name)
    return Recording(decoded.samples, None if channel is None else channel + 1, decoded.cut_off)


def read_audible(path: str | Path, max_seconds: float = MAX_SECONDS) -> Recording:
    """
    Decodes a recording in which something can be heard, also if its file is cut off; see [`read_recording`].

    Raises:
        AudioError: It cannot be read, or nothing can be heard in it.
    """
    recording = read_recording(path, max_seconds=max_seconds)
    if is_silent(recording.samples):
        raise AudioError("nothing can be heard in it", path=Path(path).name)
    return recording


def seconds(samples: np.ndarray) -> float:
    """Length of samples at 16 kHz."""
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
    part = (source, name, offset, duration, max_seconds, channel)
    return decode_with_soundfile(*part) or decode_with_av(*part)


def check_header(path: Path, max_seconds: float) -> None:
    """
    Checks what the header of a file declares; nothing is decoded. A file that cannot be read passes: decoding fails.

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
    except (soundfile.LibsndfileError, TypeError):  # TypeError: the file is called .raw
        try:
            with open_with_av(path) as container:
                header = declared(container)
        except (av.FFmpegError, IndexError, ValueError):
            return
    except (av.FFmpegError, IndexError, ValueError):
        return
    if header is not None:
        check_size(path.name, header.frames, header.frames * header.channels, header.rate, max_seconds)
