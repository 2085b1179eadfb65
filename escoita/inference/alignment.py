"""Estimate when each word of a transcript was spoken, from the audio and the letters alone, in any language."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from escoita.audio.speech_activity import FRAME_SECONDS, SpeechActivity, speech_activity


# Letters in the order of Latin, Cyrillic, Greek, Georgian, Armenian and Devanagari; accents are removed before.
_VOWELS = frozenset("aeiouyæøœıəɛɔаеиоуыэюяієўαεηιουωაეიოუաեիոուօէըա")
_SIBILANTS = frozenset("szcxßсзцшщжчσςζξψსშზჟცძჩჯწჭսշզժցձչջծճसशषज")
# Letters per syllable of a word without vowels that are known here.
_LETTERS_PER_SYLLABLE = 2.5
# A word takes as long as its letters and two more; a digit as long as four letters, as it is read as a word.
_LETTERS_PER_WORD, _LETTERS_PER_DIGIT = 2.0, 4.0
_PARTS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff][^\w\s]*|[^\u3040-\u30ff\u3400-\u9fff]+")
SENTENCE_END = re.compile(r"[.!?…:;。！？؟।]\W*$")
_CLAUSE_END = re.compile(r"[,،、，–—-]\W*$")
# Costs, found by a random search on speech of espeak-ng in seven languages; see docs/transcribe.md for what they give
# in ten others. Durations may spread by so many seconds (the variance of a word of one second is as much); syllables
# and sibilants weigh so much.
_SPREAD, _SYLLABLES, _SIBILANCE = 0.1, 1.5, 0.15
# A pause of half a second or more within a word, the end of a sentence or of a clause without a pause, and a pause of
# half a second or more where the text has no mark.
_SPLIT_WORD, _NO_PAUSE_AT_SENTENCE, _NO_PAUSE_AT_CLAUSE, _UNMARKED_PAUSE = 12.0, 2.0, 4.0, 8.0
_LONG_PAUSE = 0.5
# Frames around the best place of a word's end within which the others are compared: 20 s. A segment of 30 s is
# compared as a whole, one of half an hour in three seconds.
_SEARCHED = 1000


@dataclass(frozen=True)
class Word:
    """
    Store a word of a transcript.

    Args:
        start (`float`): Estimated start, in seconds.
        end (`float`): Estimated end, in seconds.
        text (`str`): The word, with its punctuation; a single character of a script that writes no spaces.
        spaced (`bool`, *optional*, defaults to `True`): A space separates it from the word before.
    """

    start: float
    end: float
    text: str
    spaced: bool = True


def align_words(text: str, samples: np.ndarray, offset: float = 0.0) -> list[Word]:
    """
    Estimate when each word was spoken.

    Word ends are placed so that durations follow the numbers of letters, syllables the loudness, sibilant letters the
    high frequencies, and pauses lie between words, by preference after punctuation. The sum of the costs is minimized
    by dynamic programming.

    Args:
        text (`str`): The transcript.
        samples (`np.ndarray`): Samples of shape `(samples,)`, float32, 16 kHz, of the recording or segment.
        offset (`float`, *optional*, defaults to 0): Start of the samples in the recording, in seconds.

    Returns:
        `list[Word]`: All words in order, none overlapping the next, within the samples.
    """
    parts = split_words(text)
    words = [word for word, _ in parts]
    if not words or not len(samples):
        return [Word(offset, offset, *part) for part in parts]
    activity = speech_activity(samples)
    # Pauses are left out of the time in which word ends are placed; `until` are the places of the pauses in it.
    frames = [_frames(interval) for interval in activity.intervals]
    until = np.cumsum([len(each) for each in frames])
    if len(words) == 1 or len(words) >= until[-1]:  # or less than a frame for each: the model repeats itself
        ends = np.linspace(0, until[-1], len(words) + 1)
    else:
        ends = _word_ends(words, activity, np.concatenate(frames), until)
    counts = np.diff(until, prepend=0)
    starts_in = np.minimum(np.searchsorted(until, ends[:-1], side="right"), len(until) - 1)
    ends_in = np.minimum(np.searchsorted(until, ends[1:], side="left"), len(until) - 1)

    def time(place: float, number: int) -> float:
        first, last = activity.intervals[number]
        # The last frame of a recording may be shorter than the others.
        return offset + first + (last - first) * float(place - until[number] + counts[number]) / float(counts[number])

    aligned = []
    for place, part in enumerate(parts):
        start, end = time(ends[place], starts_in[place]), time(ends[place + 1], ends_in[place])
        aligned.append(Word(start, end, *part))
    return aligned


def words_of_characters(text: str, characters: Sequence[tuple[float, float]]) -> list[Word]:
    """
    Return the words of a text whose characters have known times.

    Args:
        text (`str`): The transcript.
        characters (`Sequence[tuple[float, float]]`): The start and the end of each character that is not a space, in
            seconds.

    Returns:
        `list[Word]`: The words; empty if the number of characters is not that of the text.
    """
    if len(characters) != sum(not character.isspace() for character in text):
        return []
    words, place = [], 0
    for word, spaced in split_words(text):
        spans = characters[place : place + len(word)]
        words.append(Word(spans[0][0], spans[-1][1], word, spaced))
        place += len(word)
    return words


def split_words(text: str) -> list[tuple[str, bool]]:
    """
    Return the words of a text, and whether a space separates each from the word before.

    Chinese and Japanese characters are words of their own, together with the punctuation after them.

    Args:
        text (`str`): Any text.
    """
    return [(part, place == 0) for word in text.split() for place, part in enumerate(_PARTS.findall(word))]


def _frames(interval: tuple[float, float]) -> np.ndarray:
    first = round(interval[0] / FRAME_SECONDS)
    return np.arange(first, max(first + 1, round(interval[1] / FRAME_SECONDS)))


def _word_ends(words: list[str], activity: SpeechActivity, frames: np.ndarray, until: np.ndarray) -> np.ndarray:
    """Return the start of the first word and the ends of all words, as frames of speech."""
    total = len(frames)
    frames = np.minimum(frames, len(activity.nuclei) - 1)
    lengths = _shared(total, [_length(word) for word in words])
    # Each kind of evidence: the number until each frame, the numbers expected of the words, and its weight.
    evidence = [
        _Evidence(activity.nuclei[frames], [_syllables(word) for word in words], _SYLLABLES, 1.0),
        _Evidence(activity.sibilants[frames], [_sibilants(word) for word in words], _SIBILANCE, 3.0),
    ]
    pauses = np.zeros(total + 1)
    intervals = activity.intervals
    pauses[until[:-1]] = [after[0] - before[1] for before, after in zip(intervals, intervals[1:], strict=False)]
    long = np.minimum(pauses / _LONG_PAUSE, 1)
    split = np.concatenate([[0.0], np.cumsum(_SPLIT_WORD * long)])
    costs, first = np.zeros(1), 0  # of the ends of the word before, from this frame on
    before: list[tuple[int, np.ndarray]] = []
    for place, word in enumerate(words):
        best = first + int(costs.argmin())
        low, high = max(first, best - _SEARCHED), min(first + len(costs) - 1, best + _SEARCHED)
        costs, first = costs[low - first : high - first + 1], low
        longest = min(int(max(1 / FRAME_SECONDS, 4 * lengths[place])), _SEARCHED, total)
        durations = np.arange(1, longest + 1)
        # All other words need a frame each.
        at = np.arange(low + 1, min(high + len(durations), total - (len(words) - 1 - place)) + 1)
        starts = at[:, None] - durations
        inside = np.clip(starts, low, high)
        cost = costs[inside - low] + (durations - lengths[place]) ** 2 / (_SPREAD / FRAME_SECONDS * lengths[place])
        cost += split[at][:, None] - split[np.minimum(inside + 1, total)]
        for each in evidence:
            cost += each.cost(place, inside, at)
        cost[starts != inside] = np.inf
        chosen = cost.argmin(axis=1)
        before.append((low + 1, starts[np.arange(len(at)), chosen]))
        costs, first = cost[np.arange(len(at)), chosen] + _mark_cost(word, long[at]), low + 1
    if first + len(costs) <= total or not np.isfinite(costs[total - first]):  # out of what was searched
        return np.minimum(np.concatenate([[0], np.cumsum(lengths)]), total)
    ends = [total]
    for low, starts in reversed(before):
        ends.append(int(starts[ends[-1] - low]))
    return np.array(ends[::-1], float)


class _Evidence:
    """Compare the evidence in the frames of a word with the amount expected from its letters."""

    def __init__(self, flags: np.ndarray, expected: list[float], weight: float, spread: float):
        self.until = np.concatenate([[0.0], np.cumsum(flags)])
        self.expected, self.weight, self.spread = _shared(self.until[-1], expected), weight, spread

    def cost(self, place: int, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Return the cost of each start and end of a word, in frames, of shape `(ends, starts)`."""
        difference = self.until[ends][:, None] - self.until[starts] - self.expected[place]
        return self.weight * difference**2 / (self.spread + self.expected[place])


def _mark_cost(word: str, long: np.ndarray) -> np.ndarray:
    """Return the cost of each end of a word; `long` is the pause there, in shares of a long one."""
    if SENTENCE_END.search(word):
        return np.where(long > 0, 0.0, _NO_PAUSE_AT_SENTENCE)
    if _CLAUSE_END.search(word):
        return np.where(long > 0, 0.0, _NO_PAUSE_AT_CLAUSE)
    return _UNMARKED_PAUSE * long


def _shared(total: float, weights: list[float]) -> np.ndarray:
    """Return the shares of a total that are proportional to the weights."""
    shares = np.array(weights, float)
    return total * shares / shares.sum() if shares.sum() else shares


def _letters(word: str) -> str:
    """Return the letters of a word, lower case and without accents; vowel signs of Indic scripts stay."""
    decomposed = unicodedata.normalize("NFD", word.lower())
    return "".join(letter for letter in decomposed if letter.isalnum() or unicodedata.category(letter) == "Mc")


def _length(word: str) -> float:
    letters = _letters(word)
    digits = sum(letter.isdigit() for letter in letters)
    return _LETTERS_PER_WORD + len(letters) - digits + _LETTERS_PER_DIGIT * digits


def _syllables(word: str) -> float:
    letters = _letters(word)
    vowels = [letter in _VOWELS for letter in letters]
    groups = sum(vowel and not before for vowel, before in zip(vowels, [False, *vowels], strict=False))
    digits = sum(letter.isdigit() for letter in letters)
    return groups + digits if groups else digits + (len(letters) - digits) / _LETTERS_PER_SYLLABLE


def _sibilants(word: str) -> float:
    return sum(letter in _SIBILANTS for letter in _letters(word))
