"""Decode recordings with FFmpeg (PyAV): m4a, webm, mp4, and files whose header does not declare their length."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from escoita.audio.containers import declared_ratio
from escoita.audio.decoding import (
    Decoded,
    Header,
    Mono,
    Source,
    TruncatedAudioError,
    check_size,
    cut_off_reason,
    segment_of,
)
from escoita.errors import AudioError


if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet


# Playlists (HLS, concat, DASH) are excluded, because an untrusted playlist could name a private file.
CONTAINERS = "mov,matroska,aac,flac,mp3,ogg,wav,aiff,caf,amr,asf,avi,flv,ac3,mpegts,mpeg"
# Containers whose header declares the length; for the others it is an estimate from the bitrate.
DECLARING = {"mov", "matroska"}
# The tolerance between the declared and the real end of the audio, in seconds.
DECLARED_TOLERANCE = 0.5
# Decoding begins this many seconds before a segment, because a decoder needs the previous packets, and at a multiple
# of this many packets, where the synthesis filter of the MP3 decoder has the same phase as in the whole file.
PREROLL_SECONDS = 1.0
PREROLL_MULTIPLE = 16
# The tolerance between the packets of an MP4 and its duration, in frames: the padding that encoders add at both ends.
PADDING_FRAMES = 4

Frames = Iterator[tuple[int, "AudioFrame"]]


class UnreadableAudioError(AudioError):
    """Report a file that no decoder can read."""

    problem = "not a recording that can be read; convert it to wav, flac, ogg, mp3 or m4a"


class _TruncatedFile(Exception):
    """Report that the last packet of a file cannot be decoded."""


class _UncertainPosition(Exception):
    """Report that the position of a packet is uncertain, so that the recording must be decoded from its start."""


def decode_with_av(
    source: Source,
    name: str,
    offset: float,
    duration: float | None,
    max_seconds: float,
    channel: int | None = None,
) -> Decoded:
    """
    Decode a file with FFmpeg, which reads m4a, webm, mp4, and recordings whose header does not declare their length.

    Decoding begins shortly before the segment if the position of each packet is certain, and ends with the segment, or
    as soon as the recording exceeds a limit. The arguments are those of [`~escoita.audio.loading.read_audio`], with
    the index of the `channel` to use.

    Returns:
        [`~escoita.audio.decoding.Decoded`]: The recording or the segment.

    Raises:
        AudioError: The file cannot be read, does not contain the segment, or contains NaN or infinity.
        AudioLimitError: The recording exceeds a limit.
    """
    import av

    arguments = (source, name, offset, duration, max_seconds, channel)
    try:
        try:
            return _decode(*arguments, skip=offset > PREROLL_SECONDS)
        except _UncertainPosition:
            return _decode(*arguments, skip=False)
    except (av.FFmpegError, IndexError, ValueError) as error:
        if declared_ratio(source) > 1:
            problem = "is cut off, and without its end it cannot be read; copy or convert it again"
            raise TruncatedAudioError(problem, path=name) from error
        raise UnreadableAudioError(path=name) from error


def open_with_av(source: Source) -> "InputContainer":
    """Open a recording with FFmpeg."""
    import av

    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    return av.open(file, "r", container_options={"format_whitelist": CONTAINERS})


def declared(container: "InputContainer") -> Header | None:
    """Return the header of an MP4 or Matroska file, or `None` for other files and live recordings."""
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


def _decode(
    source: Source,
    name: str,
    offset: float,
    duration: float | None,
    max_seconds: float,
    channel: int | None,
    skip: bool,
) -> Decoded:
    import av

    mono, position, rate, truncated, end = Mono(name, max_seconds, channel), 0, 0, False, 0.0
    with open_with_av(source) as container:
        header = declared(container)
        if header is not None and not offset and duration is None:
            check_size(name, header.frames, header.frames * header.channels, header.rate, max_seconds)
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp")
        try:
            for first, decoded in _frames_from(container, stream, offset) if skip else _frames(container, stream):
                position = first
                for frame in resampler.resample(decoded):
                    rate = rate or frame.sample_rate
                    start = max(0, round(offset * rate) - position)
                    stop = frame.samples if duration is None else round((offset + duration) * rate) - position
                    if start < min(stop, frame.samples):
                        mono.add(frame.to_ndarray()[:, start:stop], rate, axis=0)
                    position += frame.samples
                if duration is not None and position >= round((offset + duration) * rate):
                    break
                end = decoded.time + decoded.samples / decoded.sample_rate if decoded.time is not None else 0.0
        except _TruncatedFile:
            truncated = True
        audio_only = len(container.streams) == 1
    if not rate:
        raise AudioError("holds no samples", path=name)
    segment_of(offset, duration, position, rate, name)
    cut_off, decoded_seconds = "", position / rate
    if duration is None or (offset == 0 and round(duration * rate) > position):
        length = header.frames / header.rate if header is not None and audio_only else 0.0
        # Matroska declares the end of the audio, which may begin after zero, and MP4 its length.
        if length > max(decoded_seconds, end) + DECLARED_TOLERANCE:
            cut_off = cut_off_reason(length, decoded_seconds)
        elif truncated or declared_ratio(source) > 1:
            cut_off = cut_off_reason(float("inf"), decoded_seconds)
    return Decoded(mono.finish(), mono.better_channel, cut_off)


def _frames(container: "InputContainer", stream: "AudioStream") -> Frames:
    """Yield all frames, each with the position of its first sample in the recording."""
    position = 0
    for frame in _decoded(container.demux(stream)):
        yield position, frame
        position += frame.samples


def _decoded(packets: Iterator["Packet"]) -> Iterator["AudioFrame"]:
    import av

    for packet in packets:
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if any(following.size for following in packets):
                raise
            raise _TruncatedFile from error
        yield from frames  # type: ignore[misc]


def _frames_from(container: "InputContainer", stream: "AudioStream", offset: float) -> Frames:
    """
    Yield the frames from about a second before an offset on, with their positions.

    An MP4 file is seeked in, because its header lists all packets. For other files, the packets before the segment are
    read but not decoded. All frames except the first must have the same size, and the position from the number of
    packets must match the position from their timestamps.

    Raises:
        _UncertainPosition: The position is uncertain; raised before the first frame is yielded.
    """
    import av

    packets = container.demux(stream)
    first, second = None, None
    count = 0  # packets from the packet of the first frame on
    for packet in packets:
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            raise _UncertainPosition from error
        count += first is not None or bool(frames)
        if len(frames) > 1:
            raise _UncertainPosition
        if frames and first is not None:
            second = frames[0]
            break
        first = frames[0] if frames else first
    if first is None or second is None or first.pts is None or stream.time_base is None or count != 2:
        raise _UncertainPosition
    size, rate, unit = second.samples, second.sample_rate, float(stream.time_base)
    target = int(((offset - PREROLL_SECONDS) * rate - first.samples) // size)
    target = target // PREROLL_MULTIPLE * PREROLL_MULTIPLE
    if size == 0 or target <= count:
        raise _UncertainPosition
    if _seekable(container, stream, size, rate):
        ticks = first.pts + round((first.samples + (target - 1) * size) / rate / unit)
        container.seek(ticks, stream=stream)
        packets, counted = container.demux(stream), None
    else:
        for _, packet in zip(range(target - count), packets, strict=False):
            if packet.size == 0:
                raise _UncertainPosition  # the recording ends before the segment
        stream.codec_context.flush_buffers()
        counted = first.samples + (target - 1) * size
    position = None
    for frame in _decoded(packets):
        if position is None:
            if frame.pts is None:
                raise _UncertainPosition
            by_time = (frame.pts - first.pts) * unit * rate
            position = first.samples + round((by_time - first.samples) / size) * size if counted is None else counted
            if abs(position - by_time) > unit * rate + 1 or position > offset * rate:
                raise _UncertainPosition
        yield position, frame
        position += frame.samples
    if position is None:
        raise _UncertainPosition


def _seekable(container: "InputContainer", stream: "AudioStream", size: int, rate: int) -> bool:
    """Return whether the header lists all packets, without gaps in time between them."""
    if "mp4" not in container.format.name or not stream.frames or stream.duration is None or not stream.time_base:
        return False
    length = float(stream.duration * stream.time_base) * rate
    return abs(stream.frames * size - length) <= PADDING_FRAMES * size
