"""Detect audio files that are shorter than their container declares, without decoding them."""

import io
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, NamedTuple


# A writer that cannot seek, such as a pipe, leaves a placeholder for the length: 0, or a number near the maximum. A
# truncated recording of 2 GiB is not recognized.
PLACEHOLDER = 0x7FFF_F000
# The maximum number of elements that are read, which takes at most two seconds; beyond it, truncation is not detected.
# A live recording of three hours has 540,000 elements of 20 ms.
ELEMENTS = 600_000
# The longest page of Ogg: a header of 27 bytes, a table of 255 and 255 segments of 255 bytes.
_OGG_PAGE = 27 + 255 + 255 * 255
# The maximum number of streams that are read from an Ogg file: audio, and the other streams of a video.
_OGG_STREAMS = 16
# Elements of Matroska that contain others and may be of unknown length: Segment and Cluster.
_SEGMENT = 0x18538067
_MASTERS = {_SEGMENT, 0x1F43B675}
# Boxes that may begin an MP4 or QuickTime file, and boxes that are needed to decode the audio.
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"free", b"wide", b"skip", b"pnot"}
_AUDIO_BOXES = {b"moov", b"mdat", b"moof"}


class Element(NamedTuple):
    """
    Store the position of a container element that declares its length.

    Args:
        start (`int`): The offset of its content in the file, in bytes.
        length (`int`): The declared length of its content, in bytes.
    """

    start: int
    length: int


def declared_ratio(source: str | Path | bytes) -> float:
    """
    Return the ratio of the declared length of a file to its real length.

    Only the structure of WAV and AIFF files, Ogg pages, and elements of Matroska (WebM) and MP4 is read.

    Args:
        source (`str`, `Path` or `bytes`): The path of a file, or its content.

    Returns:
        `float`: 1 for a file that is complete or declares no length; infinity if it is truncated by an unknown amount.
    """
    with _opened(source) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RF64", b"FORM"):
            return _ratio(_chunk(file, size), size)
        if head.startswith(b"OggS"):
            return float("inf") if _is_truncated_ogg(file, size) else 1.0
        if head.startswith(b"\x1aE\xdf\xa3"):
            return _ratio_of_elements(_matroska(file, size), size)
        return _ratio_of_elements(_boxes(file, size), size) if head[4:8] in _FIRST_BOXES else 1.0


def is_chained_ogg(source: str | Path | bytes) -> bool:
    """
    Return whether an Ogg file contains several consecutive recordings, such as those of an internet radio.

    Args:
        source (`str`, `Path` or `bytes`): The path of a file, or its content.
    """
    with _opened(source) as file:
        size = file.seek(0, io.SEEK_END)
        last = _last_page(file, size)[14:18]
        place, streams = 0, set()
        # The first pages of all streams of a recording come before its other pages.
        for _ in range(_OGG_STREAMS):
            file.seek(place)
            head = file.read(27)
            if len(head) < 27 or not head.startswith(b"OggS\0") or not head[5] & 2:
                break
            streams.add(head[14:18])
            place += 27 + head[26] + sum(file.read(head[26]))
        return bool(streams) and len(last) == 4 and last not in streams


def _opened(source: str | Path | bytes) -> closing[BinaryIO]:
    return closing(io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb"))


def _ratio(element: Element | None, size: int) -> float:
    if element is None or element.start + element.length <= size:
        return 1.0
    return element.length / max(1, size - element.start)


def _ratio_of_elements(elements: Iterator[Element], size: int) -> float:
    return float("inf") if any(start + length > size for start, length in elements) else 1.0


def _chunk(file: BinaryIO, size: int) -> Element | None:
    """Return the chunk of the samples of a WAV or AIFF file, or `None` if it does not declare their length."""
    file.seek(0)
    form = file.read(12)[:4]
    order, expected = (">", b"SSND") if form == b"FORM" else ("<", b"data")
    long_length, place = 0, 12
    for _ in range(ELEMENTS):
        file.seek(place)
        if len(head := file.read(8)) < 8:
            return None
        length = struct.unpack(f"{order}I", head[4:])[0]
        if head[:4] == expected:
            if form == b"RF64" and length == 0xFFFFFFFF and 0 < long_length < 1 << 62:
                return Element(place + 8, long_length)
            return Element(place + 8, length) if 0 < length < PLACEHOLDER else None
        if form == b"RF64" and head[:4] == b"ds64" and len(sizes := file.read(16)) == 16:
            long_length = struct.unpack("<Q", sizes[8:])[0]
        place += 8 + length + length % 2
        if place >= size:
            return None
    return None


def _is_truncated_ogg(file: BinaryIO, size: int) -> bool:
    """Return whether the last page of an Ogg file is incomplete."""
    page = _last_page(file, size)
    if not page:
        return False
    table = page[27 : 27 + page[26]] if len(page) > 26 else b""
    complete = len(page) > 26 and len(table) == page[26] and 27 + len(table) + sum(table) <= len(page)
    # The first bytes of another page may be shorter than its signature.
    rest = page[27 + len(table) + sum(table) :]
    return not complete or (0 < len(rest) < 5 and b"OggS\0".startswith(rest))


def _last_page(file: BinaryIO, size: int) -> bytes:
    """Return the content of an Ogg file from its last page on, or nothing if it has no page."""
    file.seek(max(0, size - _OGG_PAGE))
    tail = file.read(_OGG_PAGE)
    place = tail.rfind(b"OggS\0")
    return tail[place:] if place >= 0 else b""


def _matroska(file: BinaryIO, size: int) -> Iterator[Element]:
    """Yield the elements of a Matroska file, including those of a Segment of unknown length and its Clusters."""
    place = 0
    for _ in range(ELEMENTS):
        file.seek(place)
        head = file.read(12)
        if not head:
            return
        id_length = 9 - head[0].bit_length()
        rest = head[id_length : id_length + 8]
        length_length = 9 - rest[0].bit_length() if rest and rest[0] else 0
        if id_length > 4 or rest and not length_length:
            return  # not Matroska: the remaining bytes are not part of the recording
        if not rest or len(rest) < length_length:
            yield Element(place, 12)  # the header of the element is truncated
            return
        length = int.from_bytes(rest[:length_length]) - (1 << 7 * length_length)
        unknown = length == (1 << 7 * length_length) - 1
        place += id_length + length_length
        kind = int.from_bytes(head[:id_length])
        if not unknown:
            yield Element(place, length)
            if kind == _SEGMENT:
                return  # it contains the whole recording
        if kind not in _MASTERS:
            if unknown:
                return
            place += length


def _boxes(file: BinaryIO, size: int) -> Iterator[Element]:
    """Yield the boxes of an MP4 file that contain audio or its index."""
    place = 0
    for _ in range(ELEMENTS):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return
        length, start = struct.unpack(">I", head[:4])[0], place + 8
        if length == 1 and len(head) == 16:
            length, start = struct.unpack(">Q", head[8:])[0], place + 16
        if length == 0 or place + length < start:
            return  # to the end of the file; or not a box
        if head[4:8] in _AUDIO_BOXES:
            yield Element(place, length)
        place += length
