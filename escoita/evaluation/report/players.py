"""Recordings inside the report: the file's own bytes where browsers play them and they are small, else a flac."""

import base64
import io
from pathlib import Path

import soundfile

from escoita.audio.loading import SAMPLING_RATE
from escoita.data.clips import read_clip
from escoita.data.rows import Utterance
from escoita.errors import AudioError


# Of one recording, in bytes: half a minute of speech as flac at 16 kHz.
LARGEST = 400_000
# Of all in one report, in bytes as they stand there.
TOTAL = 10_000_000


def player(utterance: Utterance) -> str | None:
    """
    A recording as a data URI for an `<audio>` element.

    Args:
        utterance ([`~escoita.data.rows.Utterance`]): A row of a corpus whose licence lets clips be shipped.

    Returns:
        `str`: Starts with `data:audio/`; nothing where the recording is not there, cannot be read, or is too large
        even at 16 kHz.
    """
    encoded = _own_bytes(utterance)
    if encoded is None or (kind := media_type(encoded)) is None:
        try:
            encoded, kind = _as_flac(utterance), "audio/flac"
        except AudioError:
            return None
    if len(encoded) > LARGEST:
        return None
    return f"data:{kind};base64,{base64.b64encode(encoded).decode()}"


def media_type(encoded: bytes) -> str | None:
    """The type of a recording that every browser plays, by its first bytes; nothing for any other."""
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WAVE":
        return "audio/wav"
    if encoded[:3] == b"ID3" or (len(encoded) > 1 and encoded[0] == 0xFF and encoded[1] & 0xE6 == 0xE2):
        return "audio/mpeg"
    return {b"OggS": "audio/ogg", b"fLaC": "audio/flac"}.get(encoded[:4])


def _own_bytes(utterance: Utterance) -> bytes | None:
    """The recording as it is; nothing for a part of one, for one that is too large, or not there."""
    if utterance.offset is not None:
        return None
    if utterance.embedded is not None:
        return utterance.embedded if len(utterance.embedded) <= LARGEST else None
    path = Path(utterance.audio)
    try:
        return path.read_bytes() if path.stat().st_size <= LARGEST else None
    except OSError:
        return None


def _as_flac(utterance: Utterance) -> bytes:
    """What the model hears of it; never ogg, whose streams are numbered by the clock."""
    buffer = io.BytesIO()
    soundfile.write(buffer, read_clip(utterance), SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
