"""Read segment time marks (.stm) of NIST: one segment with its transcript per line."""

import re
from pathlib import Path

from escoita.data.annotations.base import AnnotationError, Segment, recording_name, seconds
from escoita.data.encodings import read_lines


_LABEL = re.compile(r"<[^<>\s]*>\s*")
_NO_SPEECH = ("ignore_time_segment_in_scoring", "inter_segment_gap")


def read(path: Path, language: str | None = None) -> list[Segment]:
    """
    Read the segments of all recordings; those that are excluded from scoring have an empty text.

        interview 1 ana 12.30 15.85 <o,f0,female> bo día

    Args:
        path (`Path`): The file.
        language (`str`, *optional*): The language of the text, which decides between old encodings.

    Raises:
        AnnotationError: A line has too few fields, or a time is not a number.
        CorpusError: The file cannot be read.
    """
    segments = []
    for row, line in enumerate(read_lines(path, language), start=1):
        if not line.strip() or line.startswith(";;"):
            continue
        fields = line.split(maxsplit=5)
        if len(fields) < 5:
            raise AnnotationError("not a segment: recording, channel, speaker, start, end, text", path=path, row=row)
        recording, _, speaker, start, end, *text = fields
        transcript = _LABEL.sub("", text[0], count=1).strip() if text and text[0].startswith("<") else " ".join(text)
        excluded = transcript.lower() in _NO_SPEECH or speaker == "inter_segment_gap"
        times = seconds(path, start, row), seconds(path, end, row)
        name = recording_name(recording)
        segments.append(Segment(name, *times, "" if excluded else transcript.strip(), speaker=speaker, row=row))
    return segments
