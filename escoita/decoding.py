"""Decode recordings in blocks, mix each block to mono and resample it at once, within limits of length and size."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile
import soxr

from escoita.errors import AudioError, AudioLimitError


if TYPE_CHECKING:
    from av.container import InputContainer


SAMPLING_RATE = 16_000
# The longest recording, or segment of one, that is decoded at once: 1.4 GB of samples.
MAX_SECONDS = 6 * 3600.0
# Samples of all channels that are decoded for each second of the limit: 8 channels at 48 kHz, or 2 at 192 kHz. A short
# recording may have more channels or a higher rate.
SAMPLES_PER_SECOND = 8 * 48_000
# Samples of all channels in a block: 1 MB.
BLOCK_SAMPLES = 2**18
# A manifest may round the ends of a segment by this much.
ROUNDED_SECONDS = 0.05
# libsndfile reports at least this many frames for a FLAC file whose header does not declare its length.
UNKNOWN_FRAMES = 2**62
# The longest MP3 frame, in bytes; the first frame declares the length of the recording.
LONGEST_FRAME = 1441
# The lowest bitrate of MP3, in bytes a second: a header that declares more than the file can hold is damaged.
LOWEST_BYTE_RATE = 1000
# FFmpeg also plays lists (HLS, concat, DASH), which name other files; a stranger's list could name a private one.
CONTAINERS = "mov,matroska,aac,flac,mp3,ogg,wav,aiff,caf,amr,asf,avi,flv,ac3,mpegts,mpeg"
# Of these the ones whose header declares a length, instead of an estimate from the bitrate.
DECLARING = {"mov", "matroska"}

Source = str | Path | bytes


class SequentialFile(soundfile.SoundFile):
    """A file that is read block after block: soundfile seeks after each block of a seekable one, which alters MP3."""

    def seekable(self) -> bool:
        """Report that the file is not seekable; `seek` works nevertheless."""
        return False


class Mono:
    """
    Collects blocks of a recording as mono samples at 16 kHz.

    Resampling in blocks gives the same samples as resampling the whole recording (tested bit by bit).

    Args:
        name (`str`): What errors call the recording.
        max_seconds (`float`): The longest recording.
    """

    def __init__(self, name: str, max_seconds: float):
        self.name, self.max_seconds = name, max_seconds
        self._rate = 0
        self._frames = self._size = 0
        self._resampler: soxr.ResampleStream | None = None
        self._samples = bytearray()

    def add(self, block: np.ndarray, rate: int, axis: int) -> None:
        """
        Mixes a block to mono and resamples it.

        Args:
            block (`np.ndarray`): Samples, float32.
            rate (`int`): Sampling rate, the same for all blocks.
            axis (`int`): The axis of the channels.

        Raises:
            AudioError: The block holds NaN or infinity.
            AudioLimitError: The recording is over a limit.
        """
        self._frames, self._size = self._frames + block.shape[1 - axis], self._size + block.size
        check_size(self.name, self._frames, self._size, rate, self.max_seconds)
        mono = block.mean(axis=axis) if block.shape[axis] > 1 else block.squeeze(axis)
        if not np.isfinite(mono).all():
            raise AudioError(self.name, "holds samples that are not numbers (NaN or infinite)")
        if rate != SAMPLING_RATE:
            if self._resampler is None:
                self._resampler = soxr.ResampleStream(rate, SAMPLING_RATE, 1, dtype="float32")
            mono = self._resampler.resample_chunk(mono)
        self._keep(mono)

    def finish(self) -> np.ndarray:
        """
        Ends the recording.

        Returns:
            `np.ndarray`: Of shape `(samples,)`, float32, 16 kHz.
        """
        if self._resampler is not None:
            self._keep(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        return np.frombuffer(self._samples, np.float32)

    def _keep(self, mono: np.ndarray) -> None:
        # A bytearray grows in place: no second copy of the whole recording is made.
        self._samples += memoryview(np.ascontiguousarray(mono, np.float32)).cast("B")


class Header(NamedTuple):
    """
    What the header of a recording declares.

    Args:
        frames (`int`): Samples of each channel.
        channels (`int`): Number of channels.
        rate (`int`): Samples of a channel in a second.
    """

    frames: int
    channels: int
    rate: int


def check_size(name: str, frames: int, samples: int, rate: int, max_seconds: float) -> None:
    """
    Checks a recording against the limits.

    Args:
        name (`str`): What errors call the recording.
        frames (`int`): Samples of each channel.
        samples (`int`): Samples of all channels.
        rate (`int`): Samples of a channel in a second.
        max_seconds (`float`): The longest recording.

    Raises:
        AudioLimitError: It is too long, or it has too many samples.
    """
    if frames > max_seconds * rate:
        raise AudioLimitError(name, f"is longer than {max_seconds:g} s", max_seconds)
    if samples > max_seconds * SAMPLES_PER_SECOND:
        raise AudioLimitError(name, "has too many channels or too high a sampling rate; convert it to mono at 16 kHz")


def check_header(path: Path, max_seconds: float) -> None:
    """
    Checks what the header of a file declares; nothing is decoded. A file that cannot be read passes: decoding fails.

    Raises:
        AudioLimitError: The declared recording is too long, or it has too many samples.
    """
    import av

    try:
        with soundfile.SoundFile(path) as file:
            header = _header(file, path)
        if header is None:
            with open_with_av(path) as container:
                header = _declared(container)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: the file is called .raw
        try:
            with open_with_av(path) as container:
                header = _declared(container)
        except (av.FFmpegError, IndexError, ValueError):
            return
    except (av.FFmpegError, IndexError, ValueError):
        return
    if header is not None:
        check_size(path.name, header.frames, header.frames * header.channels, header.rate, max_seconds)


def decode_with_soundfile(
    source: Source, name: str, offset: float, duration: float | None, max_seconds: float
) -> np.ndarray | None:
    """
    Decodes what libsndfile knows: wav, flac, ogg, opus and mp3.

    Returns:
        `np.ndarray`: Of shape `(samples,)`, float32, 16 kHz; none if libsndfile cannot read the file, or not to its
        end.

    Raises:
        AudioError: The file is cut off, does not hold the segment, or holds NaN or infinity.
        AudioLimitError: The recording is over a limit; its header declares that.
    """
    mono = Mono(name, max_seconds)
    try:
        with SequentialFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            header = _header(file, source)
            if header is None:
                return None
            part = segment_of(offset, duration, header.frames, header.rate, name)
            check_size(name, len(part), len(part) * header.channels, header.rate, max_seconds)
            if part.start:
                file.seek(part.start)
            left, most = len(part), max(1, BLOCK_SAMPLES // header.channels)
            while left and len(block := file.read(min(left, most), dtype="float32", always_2d=True)):
                mono.add(block, header.rate, axis=1)
                left -= len(block)
            if left > ROUNDED_SECONDS * header.rate:
                raise AudioError(name, f"is cut off: its header tells of {header.frames / header.rate:.2f} s")
    except (soundfile.LibsndfileError, TypeError):  # TypeError: the file is called .raw
        return None
    return mono.finish()


def decode_with_av(source: Source, name: str, offset: float, duration: float | None, max_seconds: float) -> np.ndarray:
    """
    Decodes what FFmpeg knows (m4a, webm, mp4), and recordings whose header does not declare their length.

    Decoding ends with the segment, or as soon as the recording is over a limit.

    Returns:
        `np.ndarray`: Of shape `(samples,)`, float32, 16 kHz.

    Raises:
        AudioError: The file cannot be read, does not hold the segment, or holds NaN or infinity.
        AudioLimitError: The recording is over a limit.
    """
    import av

    mono, position, rate = Mono(name, max_seconds), 0, 0
    try:
        with open_with_av(source) as container:
            whole = not offset and duration is None
            if whole and (header := _declared(container)) is not None:
                check_size(name, header.frames, header.frames * header.channels, header.rate, max_seconds)
            resampler = av.AudioResampler(format="fltp")
            for frame in (out for each in container.decode(audio=0) for out in resampler.resample(each)):
                rate = rate or frame.sample_rate
                start = max(0, round(offset * rate) - position)
                stop = frame.samples if duration is None else round((offset + duration) * rate) - position
                if start < min(stop, frame.samples):
                    mono.add(frame.to_ndarray()[:, start:stop], rate, axis=0)
                position += frame.samples
                if stop <= frame.samples and duration is not None:
                    break
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise AudioError(name, "not a recording that can be read; convert it to wav, flac, ogg, mp3 or m4a") from error
    if not rate:
        raise AudioError(name, "holds no samples")
    segment_of(offset, duration, position, rate, name)
    return mono.finish()


def segment_of(offset: float, duration: float | None, frames: int, rate: int, name: str) -> range:
    """
    The frames of a segment; a manifest may round its ends, but not name what is not there.

    Raises:
        AudioError: The recording does not hold the segment.
    """
    start = round(offset * rate)
    stop = frames if duration is None else start + round(duration * rate)
    if start < 0 or stop < start or (start, stop) != (0, frames) and stop > frames + ROUNDED_SECONDS * rate:
        wanted = f"from {offset:g} s" + (f" for {duration:g} s" if duration is not None else "")
        raise AudioError(name, f"holds {frames / rate:.2f} s, not the part {wanted}")
    return range(start, min(stop, frames))


def open_with_av(source: Source) -> "InputContainer":
    """Opens a recording with FFmpeg."""
    import av

    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    return av.open(file, "r", container_options={"format_whitelist": CONTAINERS})


def _header(file: soundfile.SoundFile, source: Source) -> Header | None:
    """What a file declares; none if it declares nothing, or if an MP3 declares more than the file can hold."""
    header = Header(file.frames, file.channels, file.samplerate)
    if file.format != "MP3":
        return header if file.frames < UNKNOWN_FRAMES else None
    # Of an MP3 without a header libsndfile estimates the length from the first frame, and reads no further.
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as encoded:
        tag = encoded.read(10)  # may come before the first frame; of four bytes seven bits each are its length
        length = sum(byte << bits for byte, bits in zip(tag[6:], (21, 14, 7, 0), strict=False))
        encoded.seek(10 + length if tag.startswith(b"ID3") else 0)
        first = encoded.read(LONGEST_FRAME)
        size = encoded.seek(0, io.SEEK_END)
    declares = any(mark in first for mark in (b"Xing", b"Info", b"VBRI"))
    return header if declares and header.frames / header.rate < size / LOWEST_BYTE_RATE else None


def _declared(container: "InputContainer") -> Header | None:
    """What the header of an MP4 or Matroska file declares; none of others, and of a live recording."""
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if not DECLARING & set(container.format.name.split(",")) or not codec.sample_rate:
        return None
    if stream.duration is not None and stream.time_base is not None:
        length = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        length = container.duration / 1e6
    else:
        return None
    return Header(round(length * codec.sample_rate), codec.channels, codec.sample_rate)
