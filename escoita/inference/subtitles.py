"""Cut a transcript into subtitles that can be read: short cues, cut at pauses and punctuation, of two lines each."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.cells import cell_len

from escoita.inference.alignment import Word, align_words, words_of_characters
from escoita.records.transcript import Segment, Transcript


_SENTENCE_END, _CLAUSE_END = re.compile(r"[.!?…。！？؟।]\W*$"), re.compile(r"[,;:،、，–—]\W*$")
# A cue may be shown so much earlier than its first word, and so much later than its last one unless it must be read.
_TOLERANCE = 0.3
# A cue that is shown for less flashes.
_SHORTEST = 1.0
# Cost of a cue; of its end within a sentence, and after a comma; and what a pause of a second there takes from it.
_CUE, _IN_SENTENCE, _AT_COMMA, _AT_PAUSE = 1.0, 1.2, 0.4, 1.5
# Cost of each second of a pause within a cue after 0.25 s of it, of the end of a sentence in it, of twice the speed
# that is allowed, and of a cue that flashes.
_PAUSE_INSIDE, _UNNOTICED_PAUSE, _SENTENCE_INSIDE, _TOO_FAST, _FLASH = 3.0, 0.25, 1.2, 6.0, 0.5


@dataclass(frozen=True)
class CueLimits:
    """
    Store the limits of a cue.

    Args:
        max_line_width (`int`, *optional*, defaults to 42): Columns of a line. A Chinese character has two, a combining
            accent none.
        max_line_count (`int`, *optional*, defaults to 2): Lines of a cue.
        max_seconds (`float`, *optional*, defaults to 7): Duration of a cue.
        max_speed (`float`, *optional*, defaults to 20): Columns that are read in a second.
    """

    max_line_width: int = 42
    max_line_count: int = 2
    max_seconds: float = 7.0
    max_speed: float = 20.0


@dataclass(frozen=True)
class Cue:
    """
    Store a subtitle.

    Args:
        start (`float`): Time at which it is shown, in seconds.
        end (`float`): Time at which it disappears, in seconds; later than `start`.
        lines (`tuple[str, ...]`): The text, cut into lines.
        words (`tuple[Word, ...]`): The words, with the times at which they were spoken.
    """

    start: float
    end: float
    lines: tuple[str, ...]
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """Return the text on one line."""
        return _joined(self.words)


def transcript_words(transcript: Transcript, samples: np.ndarray) -> list[Word]:
    """
    Return when each word of a transcript was spoken.

    The times of a CTC model are those of its characters; for other models they are estimated from the audio, see
    [`~escoita.inference.alignment.align_words`].

    Args:
        transcript ([`~escoita.records.transcript.Transcript`]): The transcript of a recording.
        samples (`np.ndarray`): The recording, of shape `(samples,)`, float32, 16 kHz.
    """
    from escoita.audio.segmentation import cut_segment

    whole = (Segment(0.0, transcript.audio_seconds, transcript.text),)
    return [
        word
        for segment in transcript.segments or whole
        for word in (
            words_of_characters(segment.text, segment.characters)
            or align_words(segment.text, cut_segment(samples, segment.start, segment.end), segment.start)
        )
    ]


def make_cues(words: Sequence[Word], audio_seconds: float, limits: CueLimits | None = None) -> list[Cue]:
    """
    Cut a transcript into cues, so that the sum of the costs of all cues is smallest.

    A cue that must be read faster than allowed is shown until the next one, and 0.3 s earlier if there is a pause. If
    the speech itself is faster, the cue keeps the time of its words, and nothing of the text is left out.

    Args:
        words (`Sequence[Word]`): All words of a recording, in order.
        audio_seconds (`float`): Length of the recording, in seconds.
        limits ([`CueLimits`], *optional*): The limits of a cue.

    Returns:
        `list[Cue]`: The cues, in order, none overlapping the next.
    """
    limits = limits or CueLimits()
    pieces = [piece for word in words for piece in _cut_to_width(word, limits.max_line_width)]
    bounds = _bounds(pieces, limits)
    groups = [pieces[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]
    return list(_timed(groups, audio_seconds, limits))


def _joined(words: Sequence[Word]) -> str:
    return "".join(" " * (word.spaced and place > 0) + word.text for place, word in enumerate(words))


def _cut_to_width(word: Word, width: int) -> Iterator[Word]:
    """Yield a word, or parts of it that fit on a line each, with shares of its time."""
    if cell_len(word.text) <= width:
        yield word
        return
    parts, used = [""], 0
    for letter in word.text:
        columns = cell_len(letter)
        if columns and used + columns > width and parts[-1]:
            parts.append("")
            used = 0
        parts[-1] += letter
        used += columns
    step = (word.end - word.start) / len(parts)
    for place, part in enumerate(parts):
        yield Word(word.start + place * step, word.start + (place + 1) * step, part, word.spaced and place == 0)


def _bounds(words: Sequence[Word], limits: CueLimits) -> list[int]:
    """Return the index of the first word of each cue, and the number of words last, by dynamic programming."""
    costs, before = [0.0] + [math.inf] * len(words), [0] * (len(words) + 1)
    pauses = [after.start - word.end for word, after in zip(words, words[1:], strict=False)] + [math.inf]
    for first in range(len(words)):
        columns, inside, filled = 0, 0.0, _Lines(limits)
        for last in range(first, len(words)):
            word = words[last]
            columns += cell_len(word.text) + (word.spaced and last > first)
            fits = filled.add(word)
            if last > first and not (fits and word.end - words[first].start <= limits.max_seconds):
                break
            shown = word.end - words[first].start + max(0.0, min(pauses[last], limits.max_seconds))
            speed = columns / max(shown, 1e-3) / limits.max_speed
            cost = _CUE + inside + _TOO_FAST * min(max(0.0, speed - 1), 10.0) + _FLASH * (shown < _SHORTEST)
            cost += _cost_of_cut(word, pauses[last])
            if costs[first] + cost < costs[last + 1]:
                costs[last + 1], before[last + 1] = costs[first] + cost, first
            inside += _PAUSE_INSIDE * max(0.0, min(pauses[last], 10.0) - _UNNOTICED_PAUSE)
            inside += _SENTENCE_INSIDE * bool(_SENTENCE_END.search(word.text))
    bounds = [len(words)]
    while bounds[-1] > 0:
        bounds.append(before[bounds[-1]])
    return bounds[::-1]


def _cost_of_cut(word: Word, pause: float) -> float:
    if _SENTENCE_END.search(word.text):
        return 0.0
    return (_AT_COMMA if _CLAUSE_END.search(word.text) else _IN_SENTENCE) - _AT_PAUSE * min(max(pause, 0.0), 1.0)


class _Lines:
    """Fill the lines of a cue, each with as many words as it takes."""

    def __init__(self, limits: CueLimits):
        self.limits, self.count, self.used = limits, 1, 0

    def add(self, word: Word) -> bool:
        """Add a word; return whether all words so far fit."""
        columns = cell_len(word.text)
        if self.used and self.used + word.spaced + columns > self.limits.max_line_width:
            self.count, self.used = self.count + 1, 0
        self.used += columns + (word.spaced and self.used > 0)
        return self.count <= self.limits.max_line_count


def _lines(words: Sequence[Word], limits: CueLimits) -> tuple[str, ...]:
    """Return the lines of a cue: as few as possible, of like width, broken after punctuation where that is near."""
    if cell_len(_joined(words)) <= limits.max_line_width or limits.max_line_count == 1:
        return (_joined(words),)
    choices = []
    for place in range(1, len(words)):
        upper = _joined(words[:place])
        if cell_len(upper) > limits.max_line_width:
            break
        rest = _Lines(replace(limits, max_line_count=limits.max_line_count - 1))
        if all(rest.add(word) for word in words[place:]):
            marked = bool(_SENTENCE_END.search(words[place - 1].text) or _CLAUSE_END.search(words[place - 1].text))
            share = cell_len(_joined(words)) / math.ceil(cell_len(_joined(words)) / limits.max_line_width)
            choices.append((abs(cell_len(upper) - share) - 8 * marked, upper, place))
    if not choices:
        return (_joined(words),)
    _, upper, place = min(choices)
    return (upper, *_lines(words[place:], replace(limits, max_line_count=limits.max_line_count - 1)))


def _timed(groups: Sequence[Sequence[Word]], audio_seconds: float, limits: CueLimits) -> Iterator[Cue]:
    """Yield the cues with times at which they can be read."""
    shown_until = 0.0
    for place, words in enumerate(groups):
        spoken_from, spoken_until = max(words[0].start, shown_until), words[-1].end
        following = groups[place + 1][0].start if place + 1 < len(groups) else max(audio_seconds, spoken_until)
        needed = cell_len(_joined(words)) / limits.max_speed
        end = max(spoken_until, min(spoken_from + _SHORTEST, spoken_until + _TOLERANCE), spoken_from + needed)
        end = max(min(end, following, spoken_from + limits.max_seconds), spoken_from + 0.001)
        start = max(min(spoken_from, end - needed), spoken_from - _TOLERANCE, shown_until, end - limits.max_seconds)
        yield Cue(start, end, _lines(words, limits), tuple(words))
        shown_until = end
