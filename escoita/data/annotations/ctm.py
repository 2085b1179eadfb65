"""Read time-marked words (.ctm) of NIST, and join them to segments at pauses."""

from pathlib import Path

from escoita.data.annotations.base import AnnotationError, Segment, recording_name, seconds
from escoita.data.encodings import read_lines


# Words are joined while pauses are shorter than this, and the segment is not longer, both in seconds.
PAUSE, LONGEST = 0.5, 20.0


def read(path: Path, language: str | None = None) -> list[Segment]:
    """
    Read the words of all recordings and channels, joined to segments.

        interview 1 12.30 0.25 bo 0.98
        interview 1 12.56 0.40 día 0.99

    A segment ends at a pause of half a second, and before a word with which it would exceed 20 seconds.

    Args:
        path (`Path`): The file.
        language (`str`, *optional*): The language of the text, which decides between old encodings.

    Raises:
        AnnotationError: A line has too few fields, or a time is not a number.
        CorpusError: The file cannot be read.
    """
    segments: list[Segment] = []
    words: list[list[str]] = []
    latest: dict[tuple[str, str], int] = {}
    for row, line in enumerate(read_lines(path, language), start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";;"):
            continue
        if len(fields) < 5:
            raise AnnotationError("not a word: recording, channel, start, duration, word", path=path, row=row)
        recording, channel, start, length, word = fields[:5]
        begin = seconds(path, start, row)
        end = begin + seconds(path, length, row)
        place = latest.get((recording, channel))
        if place is not None:
            last = segments[place]
            if last.start <= begin < last.end + PAUSE and end - last.start <= LONGEST:
                segments[place] = last._replace(end=max(end, last.end))
                words[place].append(word)
                continue
        latest[recording, channel] = len(segments)
        segments.append(Segment(recording_name(recording), begin, end, "", row=row))
        words.append([word])
    return [each._replace(text=" ".join(own)) for each, own in zip(segments, words, strict=True)]
