"""Decode recordings in blocks, use or mix their channels, and resample each block at once, within limits."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from escoita.audio.containers import declared_share, is_chained_ogg
from escoita.errors import AudioError, AudioLimitError


# Unrelated channels keep their energy divided by the square of their number. A mix with less than a tenth of that, so
# 10 dB below, cancels: a channel is inverted. Two channels that carry one voice, one of them inverted and with 0.7
# times the amplitude of the other, are 12 dB below.
CANCELLED = 0.1
# A mix that has less than an eighth of the energy of one channel attenuates it (by 9 dB) ...
ATTENUATED = 1 / 8
# ... and that channel is used if all others together have less than a fiftieth of its energy (-17 dB), so that nobody
# who speaks on another channel is lost. Of two channels of which one is silent, the mix is 6 dB below, and is kept.
OTHERS = 0.02


class ChannelEnergies:
    """
    Collects the energy of each channel and of their mix, block by block, without their constant offsets.

    Args:
        channels (`int`): Number of channels.
    """

    def __init__(self, channels: int):
        self.channels = channels
        self._frames = 0
        # The mix is the last column.
        self._sums = np.zeros(channels + 1)
        self._squares = np.zeros(channels + 1)

    def add(self, block: np.ndarray, mix: np.ndarray, axis: int) -> None:
        """
        Adds a block.

        Args:
            block (`np.ndarray`): Samples of all channels.
            mix (`np.ndarray`): Their mean, of shape `(frames,)`.
            axis (`int`): The axis of the channels.
        """
        self._frames += len(mix)
        self._add(slice(self.channels), np.moveaxis(block, axis, 0))
        self._add(slice(self.channels, None), mix[None])

    def better_channel(self) -> int | None:
        """
        Return the index of the channel that is used instead of the mix.

        Returns:
            `int`, *optional*: The channel with the most energy if mixing cancels or attenuates it; else none.
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
# libmpg123 decodes a segment of an MP3 to the same samples as the whole file if decoding begins at least 10 frames (of
# 1,152 samples) earlier, for the bit reservoir, and at a multiple of 4, at which its synthesis filter is in the same
# phase. This was tested bit by bit, at constant and variable bitrates; without it, segments at variable bitrates had a
# correlation of 0.5 to 0.9 with the whole.
MP3_FRAMES = 16 * 1152
# Below this rate (MPEG-2) there is no such place, and decoding begins at the start of the file.
MP3_SEEKABLE_RATE = 32_000

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
        channel (`int`, *optional*): Index of the channel that is used; the mean of all unless given.
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
        mono = self._mixed(block, axis) if block.shape[axis] > 1 else block.squeeze(axis)
        if not np.isfinite(mono).all():
            raise AudioError("holds samples that are not numbers (NaN or infinite)", path=self.name)
        if rate != SAMPLING_RATE:
            if self._resampler is None:
                self._resampler = soxr.ResampleStream(rate, SAMPLING_RATE, 1, dtype="float32")
            mono = self._resampler.resample_chunk(mono)
        self._keep(mono)

    @property
    def better_channel(self) -> int | None:
        """See [`~escoita.audio.decoding.ChannelEnergies.better_channel`]; none if a channel was chosen already."""
        return self._energies.better_channel() if self._energies is not None else None

    def finish(self) -> np.ndarray:
        """
        Ends the recording.

        Returns:
            `np.ndarray`: Of shape `(samples,)`, float32, 16 kHz.
        """
        if self._resampler is not None:
            self._keep(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        return np.frombuffer(self._samples, np.float32)

    def _mixed(self, block: np.ndarray, axis: int) -> np.ndarray:
        if self.channel is not None:
            return np.asarray(block.take(self.channel, axis))
        mix = block.mean(axis=axis)
        if self._energies is None:
            self._energies = ChannelEnergies(block.shape[axis])
        self._energies.add(block, mix, axis)
        return np.asarray(mix)

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


class Decoded(NamedTuple):
    """
    A recording, or a segment of it.

    Args:
        samples (`np.ndarray`): Of shape `(samples,)`, float32, 16 kHz.
        better_channel (`int`, *optional*): Index of the channel that is to be used instead of the mix of all.
        cut_off (`str`): Why the file is not whole; empty if it is.
    """

    samples: np.ndarray
    better_channel: int | None
    cut_off: str


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
    Decodes what libsndfile knows: wav, flac, ogg, opus and mp3.

    Returns:
        [`Decoded`]: None if libsndfile cannot read the file, or not to its end.

    Raises:
        AudioError: The file does not hold the segment, or holds NaN or infinity.
        AudioLimitError: The recording is over a limit; its header declares that.
    """
    mono = Mono(name, max_seconds, channel)
    try:
        with SequentialFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            header = read_header(file, source)
            if header is None:
                return None
            part = segment_of(offset, duration, header.frames, header.rate, name)
            check_size(name, len(part), len(part) * header.channels, header.rate, max_seconds)
            most = max(1, BLOCK_SAMPLES // header.channels)
            skipped = part.start - (start := _place_to_decode_from(file.format, header.rate, part.start))
            if start or file.subtype == "OPUS":  # without seeking, libsndfile does not skip all that a decoder needs
                file.seek(start)
            while skipped and (read := len(file.read(min(skipped, most), dtype="float32"))):
                skipped -= read
            left = len(part)
            while left and len(block := file.read(min(left, most), dtype="float32", always_2d=True)):
                mono.add(block, header.rate, axis=1)
                left -= len(block)
            held = (len(part) - left) / header.rate
    except (soundfile.LibsndfileError, TypeError):  # TypeError: the file is called .raw
        return None
    # Of a wave file libsndfile reports what is there, not what was declared.
    length = header.frames / header.rate if left else held * (declared_share(source) if duration is None else 1)
    cut_off = cut_off_reason(length, held) if length - held > ROUNDED_SECONDS else ""
    return Decoded(mono.finish(), mono.better_channel, cut_off)


def cut_off_reason(declared: float, held: float) -> str:
    """
    Say that a file is not whole.

    Args:
        declared (`float`): Seconds of audio by its header; infinity if that is not known.
        held (`float`): Seconds that were decoded.
    """
    if declared == float("inf"):
        return f"is cut off after {held:.2f} s: it ends in the middle of its data; copy or convert it again"
    return f"is cut off: its header declares {declared:.2f} s, and it holds {held:.2f} s; copy or convert it again"


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
        raise AudioError(f"holds {frames / rate:.2f} s, not the part {wanted}", path=name)
    return range(start, min(stop, frames))


def _place_to_decode_from(kind: str, rate: int, start: int) -> int:
    """The frame at which decoding begins, so that a segment gets the samples that decoding the whole file gives it."""
    if kind != "MP3":
        return start
    return max(0, start // MP3_FRAMES - 1) * MP3_FRAMES if rate >= MP3_SEEKABLE_RATE else 0


def read_header(file: soundfile.SoundFile, source: Source) -> Header | None:
    """What a file declares; none if it declares nothing, or if libsndfile would not read it to its end."""
    header = Header(file.frames, file.channels, file.samplerate)
    if file.format == "OGG" and is_chained_ogg(source):
        return None
    if file.format != "MP3":
        # Zero is also what a recorder leaves in the header of a wave file if it is killed.
        return header if 0 < file.frames < UNKNOWN_FRAMES else None
    # Of an MP3 without a header libsndfile estimates the length from the first frame, and reads no further.
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as encoded:
        tag = encoded.read(10)  # may come before the first frame; of four bytes seven bits each are its length
        length = sum(byte << bits for byte, bits in zip(tag[6:], (21, 14, 7, 0), strict=False))
        encoded.seek(10 + length if tag.startswith(b"ID3") else 0)
        first = encoded.read(LONGEST_FRAME)
        size = encoded.seek(0, io.SEEK_END)
    declares = any(mark in first for mark in (b"Xing", b"Info", b"VBRI"))
    return header if declares and header.frames / header.rate < size / LOWEST_BYTE_RATE else None
