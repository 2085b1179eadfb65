"""Find out whether a file ends before the audio that its container declares, without decoding it."""

import io
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, NamedTuple


# A writer that cannot seek, such as a pipe, leaves a placeholder for the length: 0, or a number near the largest that
# fits. A recording of 2 GiB that was cut off is not recognized.
PLACEHOLDER = 0x7FFF_F000
# Elements of a container that are looked at, which takes at most two seconds; of a longer one the end is not known. A
# live recording of three hours has 540,000 of 20 ms.
ELEMENTS = 600_000
# The longest page of Ogg: a header of 27 bytes, a table of 255 and 255 segments of 255 bytes.
_OGG_PAGE = 27 + 255 + 255 * 255
# Streams of an Ogg file that are looked at: audio, and what a video has next to it.
_OGG_STREAMS = 16
# Elements of Matroska that hold others, and may be of unknown length: Segment and Cluster.
_SEGMENT = 0x18538067
_MASTERS = {_SEGMENT, 0x1F43B675}
# Boxes with which an MP4 or QuickTime file begins, and those whose loss is a loss of audio.
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"free", b"wide", b"skip", b"pnot"}
_AUDIO_BOXES = {b"moov", b"mdat", b"moof"}


class Element(NamedTuple):
    """
    A piece of a container that declares its length.

    Args:
        start (`int`): Where its content begins in the file.
        length (`int`): Bytes that it declares.
    """

    start: int
    length: int


def declared_share(source: str | Path | bytes) -> float:
    """
    Return how many times as much audio as there is a file declares.

    Wave and AIFF files, Ogg pages, and the elements of Matroska (WebM) and MP4 are looked at; their content is not.

    Args:
        source (`str`, `Path` or `bytes`): A path, or the encoded file itself.

    Returns:
        `float`: 1 for a file that is whole or declares no length; infinity if it is cut off but does not say by how
        much.
    """
    with _opened(source) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RF64", b"FORM"):
            return _share(_chunk(file, size), size)
        if head.startswith(b"OggS"):
            return float("inf") if _ogg_is_cut(file, size) else 1.0
        if head.startswith(b"\x1aE\xdf\xa3"):
            return _worst(_matroska(file, size), size)
        return _worst(_boxes(file, size), size) if head[4:8] in _FIRST_BOXES else 1.0


def is_chained_ogg(source: str | Path | bytes) -> bool:
    """
    Return whether an Ogg file holds one recording after another, as recordings of an internet radio do.

    Args:
        source (`str`, `Path` or `bytes`): A path, or the encoded file itself.
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


def _share(element: Element | None, size: int) -> float:
    if element is None or element.start + element.length <= size:
        return 1.0
    return element.length / max(1, size - element.start)


def _worst(elements: Iterator[Element], size: int) -> float:
    return float("inf") if any(start + length > size for start, length in elements) else 1.0


def _chunk(file: BinaryIO, size: int) -> Element | None:
    """The samples of a wave or AIFF file; none if it does not declare their length."""
    file.seek(0)
    form = file.read(12)[:4]
    order, wanted = (">", b"SSND") if form == b"FORM" else ("<", b"data")
    long_length, place = 0, 12
    for _ in range(ELEMENTS):
        file.seek(place)
        if len(head := file.read(8)) < 8:
            return None
        length = struct.unpack(f"{order}I", head[4:])[0]
        if head[:4] == wanted:
            if form == b"RF64" and length == 0xFFFFFFFF and 0 < long_length < 1 << 62:
                return Element(place + 8, long_length)
            return Element(place + 8, length) if 0 < length < PLACEHOLDER else None
        if form == b"RF64" and head[:4] == b"ds64" and len(sizes := file.read(16)) == 16:
            long_length = struct.unpack("<Q", sizes[8:])[0]
        place += 8 + length + length % 2
        if place >= size:
            return None
    return None


def _ogg_is_cut(file: BinaryIO, size: int) -> bool:
    """Whether the last page of an Ogg file is not whole."""
    page = _last_page(file, size)
    if not page:
        return False
    table = page[27 : 27 + page[26]] if len(page) > 26 else b""
    whole = len(page) > 26 and len(table) == page[26] and 27 + len(table) + sum(table) <= len(page)
    # The first bytes of another page, too few to show its mark.
    rest = page[27 + len(table) + sum(table) :]
    return not whole or (0 < len(rest) < 5 and b"OggS\0".startswith(rest))


def _last_page(file: BinaryIO, size: int) -> bytes:
    """What there is from the beginning of the last page of an Ogg file on; nothing if there is none."""
    file.seek(max(0, size - _OGG_PAGE))
    tail = file.read(_OGG_PAGE)
    place = tail.rfind(b"OggS\0")
    return tail[place:] if place >= 0 else b""


def _matroska(file: BinaryIO, size: int) -> Iterator[Element]:
    """The elements of a Matroska file, those within a Segment of unknown length and its Clusters included."""
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
            return  # not Matroska: what follows is no part of the recording
        if not rest or len(rest) < length_length:
            yield Element(place, 12)  # the head itself is cut off
            return
        length = int.from_bytes(rest[:length_length]) - (1 << 7 * length_length)
        unknown = length == (1 << 7 * length_length) - 1
        place += id_length + length_length
        kind = int.from_bytes(head[:id_length])
        if not unknown:
            yield Element(place, length)
            if kind == _SEGMENT:
                return  # all of the recording is in it, and what follows is no part of it
        if kind not in _MASTERS:
            if unknown:
                return
            place += length


def _boxes(file: BinaryIO, size: int) -> Iterator[Element]:
    """The boxes of an MP4 file that hold audio, or say where it lies."""
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
