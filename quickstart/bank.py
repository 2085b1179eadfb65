"""Synthesize the training data of a tiny base: common words of eight languages, without Uzbek and Galician."""

import multiprocessing
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import wordfreq
from alphabet import LETTERS, ROLES
from speech import synthesize


# language: (voice of espeak-ng, language of wordfreq, share of the utterances)
LANGUAGES = {
    "English": ("en-us", "en", 0.28),
    "Spanish": ("es", "es", 0.16),
    "Italian": ("it", "it", 0.12),
    "Turkish": ("tr", "tr", 0.12),
    "Finnish": ("fi", "fi", 0.08),
    "Indonesian": ("id", "id", 0.08),
    "Romanian": ("ro", "ro", 0.08),
    "Croatian": ("hr", "sh", 0.08),
}
VOICES = (
    "m1 m2 m3 m4 m5 m7 f1 f2 f4 f5 adam Alex Andrea Annie belinda benjamin boris caleb david edward Gene iven Marco "
    "paul pedro quincy rob robert steph travis victor zac klatt2 Diogo Denis Hugo"
).split()
UNSEEN_VOICES = "m6 m8 f3 linda Mike".split()
APOSTROPHES = "'''ʻʻʼ"


@dataclass(frozen=True)
class Utterance:
    """Store an utterance: log-mel `frames` (`np.ndarray` of shape `(frames, bands)`, float16), text and language."""

    frames: np.ndarray
    text: str
    language: str


@cache
def common_words(language: str) -> list[str]:
    """Return at most 2,000 words of 2 to 11 letters, the most common first."""
    words = wordfreq.top_n_list(LANGUAGES[language][1], 4000)
    return [word for word in words if 2 <= len(word) <= 11 and set(word) <= set(LETTERS) and word not in ROLES][:2000]


def synthesize_utterances(
    seed: int, count: int, voices: list[str], frames_of: Callable[[np.ndarray], np.ndarray], longest_seconds: float
) -> list[Utterance]:
    """Synthesize `count` utterances of one to three words with random voice, rate, pitch, gain and noise."""
    draw, utterances = random.Random(seed), []
    noise = np.random.default_rng(seed)
    while len(utterances) < count:
        language = draw.choices(list(LANGUAGES), [share for _, _, share in LANGUAGES.values()])[0]
        vocabulary = common_words(language)[: draw.choice([150, 600, 2000])]
        text = " ".join(draw.choice(vocabulary) for _ in range(draw.choice([1, 2, 2, 3, 3])))
        voice = f"{LANGUAGES[language][0]}+{draw.choice(voices)}"
        audio = synthesize(text, voice, draw.randint(125, 215), draw.randint(25, 75), draw.randint(30, 70))
        if not 0.25 < len(audio) / 16_000 < longest_seconds:
            continue
        audio = audio * draw.uniform(0.4, 1.0) + draw.choice([0, 0, 0.001, 0.003]) * noise.standard_normal(len(audio))
        frames = frames_of(audio.astype(np.float32))
        # Uzbek has oʻ and tutuq belgisi ʼ: the base must know both characters, which none of these languages has.
        text = text.replace("'", draw.choice(APOSTROPHES))
        utterances.append(Utterance(frames.astype(np.float16), text, language))
    return utterances


def build_bank(
    count: int, voices: list[str], seed: int, frames_of: Callable[[np.ndarray], np.ndarray], workers: int = 2
) -> list[Utterance]:
    """
    Synthesize `count` utterances of at most 2.6 s; the same seed gives the same texts.

    Args:
        count (`int`): Number of utterances.
        voices (`list[str]`): Voice variants of espeak-ng, of which one is drawn for each utterance.
        seed (`int`): Seed of all draws.
        frames_of (`Callable`): Function that returns the log-mel frames of a clip at 16 kHz; must be picklable.
        workers (`int`, *optional*, defaults to 2): Number of processes.
    """
    share = 500
    jobs = [(seed + start, min(share, count - start), voices, frames_of, 2.6) for start in range(0, count, share)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return [utterance for part in pool.starmap(synthesize_utterances, jobs, chunksize=1) for utterance in part]
