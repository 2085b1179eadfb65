"""Decode recordings with libsndfile in blocks, mix or select their channels, and resample them, within limits."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from escoita.audio.containers import declared_ratio, is_chained_ogg
from escoita.errors import AudioError, AudioLimitError
from escoita.utils.limits import RECORDING_SECONDS


# The mix of unrelated channels has their energy divided by the square of their number. A mix with less than a tenth of
# that (-10 dB) cancels, because a channel is inverted. Two channels with one voice, one of them inverted and with 0.7
# times the amplitude of the other, give -12 dB.
CANCELLED = 0.1
# A mix that has less than an eighth of the energy of one channel attenuates it (by 9 dB) ...
ATTENUATED = 1 / 8
# ... and that channel is used if all others together have less than a fiftieth of its energy (-17 dB), so that speech
# on another channel is not lost. If one of two channels is silent, the mix has -6 dB, and is used.
OTHERS = 0.02


class ChannelEnergies:
    """
    Accumulate the energy of each channel and of their mix, block by block, without constant offsets.

    Args:
        channels (`int`): The number of channels.
    """

    def __init__(self, channels: int):
        self.channels = channels
        self._frames = 0
        # The mix is the last column.
        self._sums = np.zeros(channels + 1)
        self._squares = np.zeros(channels + 1)

    def add(self, block: np.ndarray, mix: np.ndarray, axis: int) -> None:
        """
        Add a block.

        Args:
            block (`np.ndarray`): The samples of all channels.
            mix (`np.ndarray`): The mean of the channels, of shape `(frames,)`.
            axis (`int`): The axis of the channels.
        """
        self._frames += len(mix)
        self._add(slice(self.channels), np.moveaxis(block, axis, 0))
        self._add(slice(self.channels, None), mix[None])

    def better_channel(self) -> int | None:
        """
        Return the index of the channel that is used instead of the mix.

        Returns:
            `int`, *optional*: The channel with the most energy if mixing cancels or attenuates it, else `None`.
        """
        if not self._frames:
            return None
        *channels, mix = np.maximum(0, self._squares / self._frames - (self._sums / self._frames) ** 2).tolist()
        total, best = sum(channels), max(channels)
        cancelled = mix < CANCELLED * total / len(channels) ** 2
        alone = mix < ATTENUATED * best and total - best < OTHERS * best
        return channels.index(best) if cancelled or alone else None

    def _add(self, place: slice, samples: np.ndarray) -> None:
        # All channels at once, as there may be a thousand of them.
        exact = samples.astype(np.float64, order="C")
        self._sums[place] += exact.sum(axis=1)
        self._squares[place] += np.einsum("cf,cf->c", exact, exact)


SAMPLING_RATE = 16_000
# The longest recording or segment that is decoded: 1.4 GB of samples.
MAX_SECONDS = 6 * 3600.0
# The limit of samples of all channels for each second of the length limit: 8 channels at 48 kHz, or 2 at 192 kHz. A
# short recording may have more channels or a higher rate.
SAMPLES_PER_SECOND = 8 * 48_000
# Samples of all channels in a block: 1 MB.
BLOCK_SAMPLES = 2**18
# The tolerance for segment ends that a manifest rounds, in seconds.
ROUNDED_SECONDS = 0.05
# The tolerance for the duration of a segment that begins with the recording: many manifests give every row an offset
# of 0, and a duration that was measured before the file was encoded again.
WHOLE_SECONDS = 0.2
# libsndfile reports at least this many frames for a FLAC file whose header does not declare its length.
UNKNOWN_FRAMES = 2**62
# The longest MP3 frame, in bytes; the first frame declares the length of the recording.
LONGEST_FRAME = 1441
# The lowest bitrate of MP3, in bytes per second: a header that declares more than the file can contain is damaged.
LOWEST_BYTE_RATE = 1000
# libmpg123 decodes a segment of an MP3 to the same samples as the whole file if decoding begins at least 10 frames (of
# 1,152 samples) earlier, because of the bit reservoir, and at a multiple of 4, where its synthesis filter has the same
# phase. This was tested bit by bit, at constant and variable bitrates; without it, segments at variable bitrates had a
# correlation of 0.5 to 0.9 with the whole file.
MP3_FRAMES = 16 * 1152
# Below this sampling rate (MPEG-2) no such position exists, and decoding begins at the start of the file.
MP3_SEEKABLE_RATE = 32_000

Source = str | Path | bytes


class TruncatedAudioError(AudioError):
    """Report a file that ends before its declared end."""


class SegmentError(AudioError):
    """Report a segment that is not within its recording."""


class SequentialFile(soundfile.SoundFile):
    """Read a file sequentially: soundfile seeks after each block of a seekable file, which changes decoded MP3."""

    def seekable(self) -> bool:
        """Report that the file is not seekable; `seek` works nevertheless."""
        return False


class Mono:
    """
    Accumulate blocks of a recording as mono samples at 16 kHz.

    Resampling in blocks gives the same samples as resampling the whole recording (tested bit by bit).

    Args:
        name (`str`): The name of the recording in errors.
        max_seconds (`float`): The maximum length of the recording.
        channel (`int`, *optional*): The index of the channel to use. Defaults to the mean of all channels.
    """

    def __init__(self, name: str, max_seconds: float, channel: int | None = None):
        self.name, self.max_seconds, self.channel = name, max_seconds, channel
        self._energies: ChannelEnergies | None = None
        self._rate = 0
        self._frames = self._size = 0
        self._resampler: soxr.ResampleStream | None = None
        self._samples = bytearray()

    def add(self, block: np.ndarray, rate: int, axis: int) -> None:
        """
        Mix a block to mono and resample it.

        Args:
            block (`np.ndarray`): The samples, float32.
            rate (`int`): The sampling rate in hertz, the same for all blocks.
            axis (`int`): The axis of the channels.

        Raises:
            AudioError: The block contains NaN or infinity.
            AudioLimitError: The recording is over a limit.
        """
        self._frames, self._size = self._frames + block.shape[1 - axis], self._size + block.size
        check_size(self.name, self._frames, self._size, rate, self.max_seconds)
        mono = self._mixed(block, axis) if block.shape[axis] > 1 else block.squeeze(axis)
        if not np.isfinite(mono).all():
            raise AudioError("holds samples that are not numbers (NaN or infinite)", path=self.name)
        if rate != SAMPLING_RATE:
            if self._resampler is None:
                self._resampler = soxr.ResampleStream(rate, SAMPLING_RATE, 1, dtype="float32")
            mono = self._resampler.resample_chunk(mono)
        self._append(mono)

    @property
    def better_channel(self) -> int | None:
        """Return [`~escoita.audio.decoding.ChannelEnergies.better_channel`], or `None` if a channel was given."""
        return self._energies.better_channel() if self._energies is not None else None

    def finish(self) -> np.ndarray:
        """
        Finish resampling and return the recording.

        Returns:
            `np.ndarray`: Samples of shape `(samples,)`, float32, 16 kHz.
        """
        if self._resampler is not None:
            self._append(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        return np.frombuffer(self._samples, np.float32)

    def _mixed(self, block: np.ndarray, axis: int) -> np.ndarray:
        if self.channel is not None:
            return np.asarray(block.take(self.channel, axis))
        mix = block.mean(axis=axis)
        if self._energies is None:
            self._energies = ChannelEnergies(block.shape[axis])
        self._energies.add(block, mix, axis)
        return np.asarray(mix)

    def _append(self, mono: np.ndarray) -> None:
        # A bytearray grows in place, without a second copy of the whole recording.
        self._samples += memoryview(np.ascontiguousarray(mono, np.float32)).cast("B")


class Header(NamedTuple):
    """
    Store the properties that the header of a recording declares.

    Args:
        frames (`int`): The number of samples of each channel.
        channels (`int`): The number of channels.
        rate (`int`): The sampling rate in hertz.
    """

    frames: int
    channels: int
    rate: int


class Decoded(NamedTuple):
    """
    Store a decoded recording, or a segment of it.

    Args:
        samples (`np.ndarray`): The samples, of shape `(samples,)`, float32, 16 kHz.
        better_channel (`int`, *optional*): The index of the channel to use instead of the mix.
        cut_off (`str`): A message about the truncation of the file; empty if it is complete.
    """

    samples: np.ndarray
    better_channel: int | None
    cut_off: str


def check_size(name: str, frames: int, samples: int, rate: int, max_seconds: float) -> None:
    """
    Check a recording against the limits.

    Args:
        name (`str`): The name of the recording in errors.
        frames (`int`): The number of samples of each channel.
        samples (`int`): The number of samples of all channels.
        rate (`int`): The sampling rate in hertz.
        max_seconds (`float`): The maximum length of the recording.

    Raises:
        AudioLimitError: The recording is too long, or it has too many samples.
    """
    if frames > max_seconds * rate:
        raise AudioLimitError(f"is longer than {max_seconds:g} s", path=name, max_seconds=max_seconds)
    if samples > max_seconds * SAMPLES_PER_SECOND:
        raise AudioLimitError(
            "has too many channels or too high a sampling rate; convert it to mono at 16 kHz", path=name
        )


def decode_with_soundfile(
    source: Source,
    name: str,
    offset: float,
    duration: float | None,
    max_seconds: float,
    channel: int | None = None,
) -> Decoded | None:
    """
    Decode a file with libsndfile, which reads wav, flac, ogg, opus and mp3.

    The arguments are those of [`~escoita.audio.loading.read_audio`], with the index of the `channel` to use.

    Returns:
        [`Decoded`]: The recording or segment; `None` if libsndfile cannot read the file, or not to its end.

    Raises:
        AudioError: The file does not contain the segment, or contains NaN or infinity.
        AudioLimitError: The recording exceeds a limit according to its header.
    """
    mono = Mono(name, max_seconds, channel)
    try:
        with SequentialFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            header = read_header(file, source)
            if header is None:
                return None
            segment = segment_of(offset, duration, header.frames, header.rate, name)
            check_size(name, len(segment), len(segment) * header.channels, header.rate, max_seconds)
            block_frames = max(1, BLOCK_SAMPLES // header.channels)
            skipped = segment.start - (start := _decoding_start(file.format, header.rate, segment.start))
            if start or file.subtype == "OPUS":  # without seeking, libsndfile does not skip the decoder delay of Opus
                file.seek(start)
            while skipped and (read := len(file.read(min(skipped, block_frames), dtype="float32"))):
                skipped -= read
            left = len(segment)
            while left and len(block := file.read(min(left, block_frames), dtype="float32", always_2d=True)):
                mono.add(block, header.rate, axis=1)
                left -= len(block)
            decoded = (len(segment) - left) / header.rate
    except (soundfile.LibsndfileError, TypeError):  # TypeError: the file name ends with .raw
        return None
    # For a WAV file, libsndfile reports the existing frames instead of the declared ones.
    whole = duration is None or (offset == 0 and round(duration * header.rate) > header.frames)
    length = header.frames / header.rate if left else decoded * (declared_ratio(source) if whole else 1)
    cut_off = cut_off_reason(length, decoded) if length - decoded > ROUNDED_SECONDS else ""
    return Decoded(mono.finish(), mono.better_channel, cut_off)


# Advice is part of the problems here, because data records store the problem of a rejected clip without its hint.
def cut_off_reason(declared: float, decoded: float) -> str:
    """
    Return the message for a truncated file.

    Args:
        declared (`float`): The declared length in seconds; infinity if it is not known.
        decoded (`float`): The decoded length in seconds.
    """
    if declared == float("inf"):
        return f"is cut off after {decoded:.2f} s: it ends in the middle of its data; copy or convert it again"
    return f"is cut off: its header declares {declared:.2f} s, and it holds {decoded:.2f} s; copy or convert it again"


def segment_of(offset: float, duration: float | None, frames: int, rate: int, name: str) -> range:
    """
    Return the frames of a segment. Its end may exceed the recording by a rounding error; by [`WHOLE_SECONDS`] if it
    begins at 0, and is then the whole recording.

    Args:
        offset (`float`): The start of the segment in seconds.
        duration (`float`, *optional*): The length of the segment in seconds. Defaults to the rest of the recording.
        frames (`int`): The number of samples of each channel.
        rate (`int`): The sampling rate in hertz.
        name (`str`): The name of the recording in errors.

    Raises:
        SegmentError: The recording does not contain the segment.
    """
    if all(0 <= time < RECORDING_SECONDS for time in (offset, duration or 0.0)):  # NaN is not
        start = round(offset * rate)
        stop = frames if duration is None else start + round(duration * rate)
        tolerance = WHOLE_SECONDS if start == 0 else ROUNDED_SECONDS
        if start <= stop <= frames + tolerance * rate:
            return range(start, min(stop, frames))
    segment = f"from {offset:g} s" + (f" for {duration:g} s" if duration is not None else "")
    raise SegmentError(f"holds {frames / rate:.2f} s, not the part {segment}", path=name)


def _decoding_start(file_format: str, rate: int, start: int) -> int:
    """Return the frame to decode from, such that a segment has the same samples as in the decoded whole file."""
    if file_format != "MP3":
        return start
    return max(0, start // MP3_FRAMES - 1) * MP3_FRAMES if rate >= MP3_SEEKABLE_RATE else 0


def read_header(file: soundfile.SoundFile, source: Source) -> Header | None:
    """Return the header of a file, or `None` if it declares no length or libsndfile would not read it to its end."""
    header = Header(file.frames, file.channels, file.samplerate)
    if file.format == "OGG" and is_chained_ogg(source):
        return None
    if file.format != "MP3":
        # A recorder that is killed leaves zero in the header of a WAV file.
        return header if 0 < file.frames < UNKNOWN_FRAMES else None
    # libsndfile estimates the length of an MP3 without a header from its first frame, and reads no further.
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as encoded:
        tag = encoded.read(10)  # an optional ID3 tag, whose length is stored in seven bits of each of four bytes
        length = sum(byte << bits for byte, bits in zip(tag[6:], (21, 14, 7, 0), strict=False))
        encoded.seek(10 + length if tag.startswith(b"ID3") else 0)
        first = encoded.read(LONGEST_FRAME)
        size = encoded.seek(0, io.SEEK_END)
    declares_length = any(signature in first for signature in (b"Xing", b"Info", b"VBRI"))
    return header if declares_length and header.frames / header.rate < size / LOWEST_BYTE_RATE else None
