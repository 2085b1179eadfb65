"""Decode recordings with FFmpeg (PyAV): m4a, webm, mp4, and files whose header does not declare their length."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from escoita.audio.containers import declared_share
from escoita.audio.decoding import Decoded, Header, Mono, Source, check_size, cut_off_reason, segment_of
from escoita.errors import AudioError


if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet


# FFmpeg also plays lists (HLS, concat, DASH), which name other files; a stranger's list could name a private one.
CONTAINERS = "mov,matroska,aac,flac,mp3,ogg,wav,aiff,caf,amr,asf,avi,flv,ac3,mpegts,mpeg"
# Of these the ones whose header declares a length, instead of an estimate from the bitrate.
DECLARING = {"mov", "matroska"}
# The end of the audio may be so much before the declared end.
DECLARED_TOLERANCE = 0.5
# Decoding begins so many seconds before a segment, as a decoder needs the packets before; and at a multiple of so many
# packets, at which the synthesis filter of the MP3 decoder is in the phase that it has when the whole is decoded.
PREROLL_SECONDS = 1.0
PREROLL_MULTIPLE = 16
# Frames by which the number of packets of an MP4 and its duration may differ: what an encoder adds at both ends.
PADDING_FRAMES = 4

Frames = Iterator[tuple[int, "AudioFrame"]]


class _EndsEarly(Exception):
    """The last packet of a file cannot be decoded: the file is cut off."""


class _NoPlace(Exception):
    """The place of a packet in the recording is not certain: the recording is decoded from its start."""


def decode_with_av(
    source: Source,
    name: str,
    offset: float,
    duration: float | None,
    max_seconds: float,
    channel: int | None = None,
) -> Decoded:
    """
    Decodes what FFmpeg knows (m4a, webm, mp4), and recordings whose header does not declare their length.

    Decoding begins shortly before the segment if the place of each packet is certain, and ends with the segment, or as
    soon as the recording is over a limit.

    Returns:
        [`~escoita.audio.decoding.Decoded`]: The recording or the segment.

    Raises:
        AudioError: The file cannot be read, does not hold the segment, or holds NaN or infinity.
        AudioLimitError: The recording is over a limit.
    """
    import av

    part = (source, name, offset, duration, max_seconds, channel)
    try:
        try:
            return _decode(*part, skip=offset > PREROLL_SECONDS)
        except _NoPlace:
            return _decode(*part, skip=False)
    except (av.FFmpegError, IndexError, ValueError) as error:
        if declared_share(source) > 1:
            reason = "is cut off, and without its end it cannot be read; copy or convert it again"
            raise AudioError(reason, path=name) from error
        raise AudioError(
            "not a recording that can be read; convert it to wav, flac, ogg, mp3 or m4a", path=name
        ) from error


def open_with_av(source: Source) -> "InputContainer":
    """Opens a recording with FFmpeg."""
    import av

    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    return av.open(file, "r", container_options={"format_whitelist": CONTAINERS})


def declared(container: "InputContainer") -> Header | None:
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

    mono, position, rate, ends_early, end = Mono(name, max_seconds, channel), 0, 0, False, 0.0
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
        except _EndsEarly:
            ends_early = True
        alone = len(container.streams) == 1
    if not rate:
        raise AudioError("holds no samples", path=name)
    segment_of(offset, duration, position, rate, name)
    cut_off, held = "", position / rate
    if duration is None:
        length = header.frames / header.rate if header is not None and alone else 0.0
        # Matroska declares when the audio ends, which is later if it does not begin at zero, and MP4 how long it is.
        if length > max(held, end) + DECLARED_TOLERANCE:
            cut_off = cut_off_reason(length, held)
        elif ends_early or declared_share(source) > 1:
            cut_off = cut_off_reason(float("inf"), held)
    return Decoded(mono.finish(), mono.better_channel, cut_off)


def _frames(container: "InputContainer", stream: "AudioStream") -> Frames:
    """All frames, with the place in the recording of the first sample of each."""
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
            raise _EndsEarly from error
        yield from frames  # type: ignore[misc]


def _frames_from(container: "InputContainer", stream: "AudioStream", offset: float) -> Frames:
    """
    The frames from about a second before an offset on, with their places.

    The header of an MP4 file lists all packets: it is sought in. Of other files the packets before the segment are
    read, but not decoded. All frames but the first have one size, and a place that the count of packets gives must be
    the one that their times give; else nothing is certain.

    Raises:
        _NoPlace: It is not certain, which is known before the first frame is given.
    """
    import av

    packets = container.demux(stream)
    first, second = None, None
    count = 0  # packets from that of the first frame on
    for packet in packets:
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            raise _NoPlace from error
        count += first is not None or bool(frames)
        if len(frames) > 1:
            raise _NoPlace
        if frames and first is not None:
            second = frames[0]
            break
        first = frames[0] if frames else first
    if first is None or second is None or first.pts is None or stream.time_base is None or count != 2:
        raise _NoPlace
    size, rate, unit = second.samples, second.sample_rate, float(stream.time_base)
    wanted = int(((offset - PREROLL_SECONDS) * rate - first.samples) // size)
    wanted = wanted // PREROLL_MULTIPLE * PREROLL_MULTIPLE
    if size == 0 or wanted <= count:
        raise _NoPlace
    if _seekable(container, stream, size, rate):
        ticks = first.pts + round((first.samples + (wanted - 1) * size) / rate / unit)
        container.seek(ticks, stream=stream)
        packets, counted = container.demux(stream), None
    else:
        for _, packet in zip(range(wanted - count), packets, strict=False):
            if packet.size == 0:
                raise _NoPlace  # the recording ends before the segment
        stream.codec_context.flush_buffers()
        counted = first.samples + (wanted - 1) * size
    position = None
    for frame in _decoded(packets):
        if position is None:
            if frame.pts is None:
                raise _NoPlace
            by_time = (frame.pts - first.pts) * unit * rate
            position = first.samples + round((by_time - first.samples) / size) * size if counted is None else counted
            if abs(position - by_time) > unit * rate + 1 or position > offset * rate:
                raise _NoPlace
        yield position, frame
        position += frame.samples
    if position is None:
        raise _NoPlace


def _seekable(container: "InputContainer", stream: "AudioStream", size: int, rate: int) -> bool:
    """Whether the header lists all packets, with no gaps in time between them."""
    if "mp4" not in container.format.name or not stream.frames or stream.duration is None or not stream.time_base:
        return False
    length = float(stream.duration * stream.time_base) * rate
    return abs(stream.frames * size - length) <= PADDING_FRAMES * size
