"""Write the files that a visitor downloads: text, subtitles and JSON, the same as those of `escoita transcribe`."""

import re
import unicodedata
from pathlib import Path

import numpy as np

from escoita.inference.outputs import FORMATS, TranscribedFile
from escoita.inference.subtitles import make_cues, transcript_words
from escoita.records.transcript import Segment, Transcript
from escoita.utils.files import write_atomically


# The formats of the downloads, in their order on the page.
DOWNLOADS = ("txt", "srt", "vtt", "json")
# The length of a file name in bytes; file systems allow 255, and a browser may append a number.
MAX_NAME_BYTES = 100
UNNAMED = "transcript"
# Names of devices on Windows, with any suffix.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\w .-]+")
# Lone surrogates cannot be encoded in UTF-8.
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def write_downloads(
    transcript: Transcript, samples: np.ndarray, folder: Path, recording: str, language: str | None = None
) -> list[Path]:
    """
    Write a transcript in every format of `DOWNLOADS`.

    Args:
        transcript ([`~escoita.records.transcript.Transcript`]): The transcript.
        samples (`np.ndarray`): The recording, of shape `(samples,)`, float32, 16 kHz, in which the words are found.
        folder (`Path`): The folder of the files; one for each transcript, because recordings of two visitors may have
            the same name.
        recording (`str`): The path of the recording, whose name the files get.
        language (`str`, *optional*): The tag of the spoken language.

    Returns:
        `list[Path]`: One file for each format, in their order.
    """
    words = transcript_words(transcript, samples)
    cues = make_cues(words, transcript.audio_seconds)
    file = TranscribedFile(Path(recording).name, transcript, tuple(words), tuple(cues), language or "")
    paths = []
    for suffix in DOWNLOADS:
        paths.append(folder / f"{safe_stem(recording)}.{suffix}")
        write_atomically(paths[-1], FORMATS[suffix](file))
    return paths


def safe_stem(recording: str) -> str:
    """Return a file name without suffix that every system allows; letters of all scripts are preserved."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", recording)[-1])
    stem = _UNSAFE.sub("-", Path(name).stem.translate(_SURROGATES)).strip(" .-")
    stem = stem.encode()[:MAX_NAME_BYTES].decode(errors="ignore").rstrip(" .-")
    return f"{UNNAMED}-{stem}" if _DEVICES.fullmatch(stem.partition(".")[0].rstrip()) else stem or UNNAMED


def segments_of(transcript: Transcript) -> tuple[Segment, ...]:
    """Return the segments of a transcript, or the whole recording as one segment."""
    return transcript.segments or (Segment(0.0, transcript.audio_seconds, transcript.text),)
