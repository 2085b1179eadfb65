"""Cut long recordings with a plain transcript into clips, by forced alignment."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from escoita.audio.loading import SAMPLING_RATE, read_audible, seconds
from escoita.data.inspection.turns import Turn
from escoita.data.rows import Rejected, Utterance
from escoita.errors import EscoitaError
from escoita.inference.aligner import AlignedWord, Aligner, without_letters
from escoita.inference.alignment import SENTENCE_END, split_words


SHORTEST, LONGEST = 2.0, 25.0
# The lowest score of a clip: the geometric mean of the probabilities of its letters.
MIN_SCORE = 0.2
# The same for romanized text: uroman does not write all letters as the language does in Latin script.
MIN_SCORE_ROMANIZED = 0.02
# A cut costs less at a longer pause, up to this many seconds, and at the end of a sentence.
_PAUSE = 0.6
# Speech without text of at least this many seconds separates clips.
_OTHER = 0.2
# Ends of a clip next to other speech lie at the quietest moment within this time, in seconds.
_NEXT_TO_OTHER = 0.3
# The cost in nats of a change between text that was spoken and text that was not, at the end of a sentence and within
# one: a single word with a low score is not enough.
_CHANGE_AT_SENTENCE, _CHANGE_IN_SENTENCE = 1.5, 4.0
# A clip keeps so much of the pauses at its ends, in seconds.
_EDGE = 0.2
_STEP = 0.01
# If a smaller share of a transcript is in clips that could be used, and as much has a low score, it is another text,
# and the similar words in it are no evidence.
_FOUND = 0.25

LOW_SCORE = "a low score of the alignment: other text, or unclear speech"
TOO_SHORT = f"shorter than {SHORTEST:g} s, between other speech or speakers"
TOO_LONG = f"no pause within {LONGEST:g} s"
WITHOUT_LETTERS = "no letter that the aligner knows"
UNSPOKEN_NUMBER = "a number, or another word without letters of the aligner, at which no speech was found"
OTHER_TEXT = "less than a quarter of the transcript was found in its recording"


class Clip(NamedTuple):
    """
    Store a clip of a recording.

    Args:
        start (`float`): The start in seconds.
        end (`float`): The end in seconds.
        text (`str`): The words.
        score (`float`): The geometric mean of the probabilities of its letters, from 0 to 1; 0 if it has none.
        speaker (`str`, *optional*, defaults to `""`): The speaker, if the transcript names one.
    """

    start: float
    end: float
    text: str
    score: float
    speaker: str = ""


@dataclass
class Aligned:
    """
    Store the clips of all recordings.

    Args:
        rows (`list[Utterance]`): The clips that can be used.
        scores (`dict[str, float]`): The score of each by its id.
        left_out (`Counter[str]`): The number of other clips, by reason.
        left_out_seconds (`float`): Their total length, in seconds.
        other_seconds (`float`): The total length of speech without text, in seconds.
        rejected (`list[Rejected]`): The recordings that cannot be aligned.
    """

    rows: list[Utterance] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    left_out_seconds: float = 0.0
    other_seconds: float = 0.0
    rejected: list[Rejected] = field(default_factory=list)


def align_recordings(
    rows: Sequence[Utterance],
    aligner: Aligner,
    min_score: float = MIN_SCORE,
    turns: Mapping[str, Sequence[Turn]] | None = None,
) -> Aligned:
    """
    Cut recordings with their transcripts into clips of 2 to 25 seconds at pauses.

    Args:
        rows (`Sequence[Utterance]`): Complete recordings with a transcript each.
        aligner ([`~escoita.inference.aligner.Aligner`]): The aligner, prepared for the texts.
        min_score (`float`, *optional*, defaults to 0.2): The lowest score of a clip that is used.
        turns (`Mapping[str, Sequence[Turn]]`, *optional*): The turns of transcripts that name their speakers, by the
            path of the recording.
    """
    found = Aligned()
    for row in rows:
        try:
            samples = read_audible(row.audio).samples
            words, rest = aligner.align(samples, row.text)
        except EscoitaError as error:
            found.rejected.append(Rejected(row.source, row.row, row.audio, error.problem))
            continue
        found.other_seconds += rest + sum(word.other for word in words)
        speakers = [turn.speaker for turn in (turns or {}).get(row.audio, ()) for _ in split_words(turn.text)]
        for clip, reason in cut_clips(words, samples, min_score, speakers):
            if reason:
                found.left_out[reason] += 1
                found.left_out_seconds += clip.end - clip.start
                continue
            id_ = f"{row.id}-{round(1000 * clip.start):08d}"
            own = replace(row, id=id_, text=clip.text, offset=clip.start, duration=clip.end - clip.start)
            found.rows.append(replace(own, speaker=clip.speaker or row.speaker))
            found.scores[id_] = clip.score
    return found


def cut_clips(
    words: Sequence[AlignedWord],
    samples: np.ndarray,
    min_score: float = MIN_SCORE,
    speakers: Sequence[str] = (),
) -> list[tuple[Clip, str]]:
    """
    Group words into clips, and return each with the reason to leave it out, or an empty string.

    Args:
        words (`Sequence[AlignedWord]`): The words of a recording in order.
        samples (`np.ndarray`): The recording, of shape `(samples,)`, float32, 16 kHz.
        min_score (`float`, *optional*, defaults to 0.2): The lowest score of a clip that is used.
        speakers (`Sequence[str]`, *optional*): The speaker of each word; no clip contains the words of two speakers.
    """
    speakers = speakers or [""] * len(words)
    unspoken = _unspoken(words, speakers, min_score)
    separate = [False] + [
        after.other >= _OTHER or unspoken[place] != unspoken[place + 1] or speakers[place] != speakers[place + 1]
        for place, after in enumerate(words[1:])
    ]
    cuts = _cuts(words, separate, samples)
    found = []
    for first, last in _groups(words, separate):
        own = words[first : last + 1]
        start = max(cuts[first][0], own[0].start - _EDGE)
        end = min(cuts[last + 1][1], own[-1].end + _EDGE)
        letters = sum(word.letters for word in own)
        score = math.exp(sum(word.score * word.letters for word in own if word.letters) / letters) if letters else 0.0
        clip = Clip(round(start, 3), round(end, 3), _joined(own), round(score, 4), speakers[first])
        reason = ""
        if not letters:
            reason = WITHOUT_LETTERS
        elif unspoken[first] or score < min_score:
            reason = LOW_SCORE
        elif end - start > LONGEST:
            reason = TOO_LONG
        elif end - start < SHORTEST:
            reason = TOO_SHORT
        elif any(without_letters(word) and word.end <= word.start for word in own):
            reason = UNSPOKEN_NUMBER
        found.append((clip, reason))
    characters: Counter[str] = Counter()
    for clip, reason in found:
        characters[reason] += len(clip.text)
    if characters[""] + characters[TOO_LONG] < _FOUND * characters.total() <= characters[LOW_SCORE]:
        return [(clip, reason or OTHER_TEXT) for clip, reason in found]
    return found


def _joined(words: Sequence[AlignedWord]) -> str:
    return "".join(" " * (word.spaced and place > 0) + word.text for place, word in enumerate(words))


def _unspoken(words: Sequence[AlignedWord], speakers: Sequence[str], min_score: float) -> list[bool]:
    """
    Return whether each word belongs to a stretch of text that was probably not spoken.

    The Viterbi algorithm chooses the stretches with the highest sum of three terms: the log-probabilities of the
    letters outside of the stretches, log(min_score) for each letter within them, and the costs of changes. So a wrong
    sentence is found in a long recording, and a single unclear word in a right sentence is accepted.
    """
    limit = math.log(min_score) if min_score > 0 else -math.inf
    # The sums of the best path whose last word was spoken and of the one whose last word was not.
    sums, choices = (0.0, 0.0), []
    for place, word in enumerate(words):
        value = word.letters * (word.score - limit) if word.letters else 0.0
        at_end = place == 0 or speakers[place - 1] != speakers[place] or _ends_sentence(words[place - 1])
        cost = 0.0 if place == 0 else _CHANGE_AT_SENTENCE if at_end else _CHANGE_IN_SENTENCE
        choices.append((sums[1] - cost > sums[0], sums[1] >= sums[0] - cost))
        sums = max(sums[0], sums[1] - cost) + value, max(sums[1], sums[0] - cost)
    unspoken, found = sums[1] > sums[0], []
    for choice in reversed(choices):
        found.append(unspoken)
        unspoken = choice[unspoken]
    return found[::-1]


def _ends_sentence(word: AlignedWord) -> bool:
    return SENTENCE_END.search(word.text) is not None


def _cuts(words: Sequence[AlignedWord], separate: Sequence[bool], samples: np.ndarray) -> list[tuple[float, float]]:
    """
    Return, for the place before each word and after the last one, the earliest start of a clip that begins there and
    the latest end of one that ends there: the quietest moment between two words, or both ends of other speech.
    """
    length = seconds(samples)
    found = [(0.0, 0.0)]
    for place, (before, after) in enumerate(pairwise(words), start=1):
        if separate[place] and after.other >= _OTHER:
            start = _quietest(samples, max(before.end, after.start - _NEXT_TO_OTHER), after.start)
            end = _quietest(samples, before.end, min(after.start, before.end + _NEXT_TO_OTHER))
            found.append((max(start, end), min(start, end)))
        else:
            middle = _quietest(samples, before.end, max(after.start, before.end))
            found.append((middle, middle))
    return [*found, (length, length)]


def _quietest(samples: np.ndarray, start: float, end: float) -> float:
    """Return the middle of the quietest 50 ms between two times."""
    step = round(_STEP * SAMPLING_RATE)
    first = round(start * SAMPLING_RATE)
    part = samples[first : max(first + step, round(end * SAMPLING_RATE))].astype(np.float64)
    steps = len(part) // step
    if steps < 6:
        return (start + end) / 2
    levels = np.square(part[: steps * step]).reshape(steps, step).sum(axis=1)
    smooth = np.convolve(levels, np.ones(5), "valid")
    return start + (int(smooth.argmin()) + 2.5) * _STEP


def _groups(words: Sequence[AlignedWord], separate: Sequence[bool]) -> list[tuple[int, int]]:
    """Return the first and last word of each clip, so that the sum of the costs of all cuts is smallest."""
    count = len(words)
    costs, before = [0.0] + [math.inf] * count, [0] * (count + 1)
    for last in range(count):
        end, cost_of_cut = words[last].end, _cost_of_cut(words, separate, last)
        for first in range(last, -1, -1):
            if first < last and separate[first + 1]:
                break
            length = end - words[first].start + 2 * _EDGE
            if length > LONGEST and first < last:
                break
            cost = costs[first] + cost_of_cut + (50.0 if length < SHORTEST else 0.0)
            if cost < costs[last + 1]:
                costs[last + 1], before[last + 1] = cost, first
    groups, end_ = [], count
    while end_ > 0:
        groups.append((before[end_], end_ - 1))
        end_ = before[end_]
    return groups[::-1]


def _cost_of_cut(words: Sequence[AlignedWord], separate: Sequence[bool], last: int) -> float:
    """Return the cost of a cut after a word: more within a sentence, and much more without a pause."""
    if last == len(words) - 1 or separate[last + 1]:
        return 1.0
    pause = min(_PAUSE, max(0.0, words[last + 1].start - words[last].end)) / _PAUSE
    return 1.0 + 8.0 * (1 - pause) ** 2 + 1.0 * (not _ends_sentence(words[last]))
