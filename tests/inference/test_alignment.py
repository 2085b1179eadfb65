import json
import re
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.audio.loading import SAMPLING_RATE, read_audio, seconds
from escoita.inference.alignment import Word, align_words, split_words, words_of_characters
from escoita.inference.subtitles import make_cues
from tests.conftest import ROOT


# Recordings of espeak-ng whose words have known times; see tests/inference/make_recordings.py.
FOLDER = ROOT / "tests/fixtures/spoken"
KNOWN: dict[str, list[tuple[str, float, float]]] = json.loads((FOLDER / "words.json").read_text("utf-8"))
PAUSED = [name for name in KNOWN if "continuous" not in name]
CONTINUOUS = [name for name in KNOWN if "continuous" in name]
TOLERANCE = 0.3


@cache
def recording(name: str) -> np.ndarray:
    return read_audio(FOLDER / f"{name}.ogg")


def plain(word: str) -> str:
    return re.sub(r"[.,]", "", word).lower()


def noisy(samples: np.ndarray, decibels: float = 20.0) -> np.ndarray:
    """Return a recording at a tenth of its level, with white noise at a distance from its mean level."""
    level = np.sqrt(np.square(samples).mean()) * 10 ** (-decibels / 20)
    noise = np.random.default_rng(0).normal(0, level, len(samples))
    return (0.1 * (samples + noise)).astype(np.float32)


def deviations(name: str, marked: bool = True, noise: bool = False) -> tuple[list[float], list[float]]:
    """Return the deviations in seconds of starts and ends of words, and of starts and ends of cues."""
    known = [(word if marked else plain(word), start, end) for word, start, end in KNOWN[name]]
    samples = noisy(recording(name)) if noise else recording(name)
    found = align_words(" ".join(word for word, _, _ in known), samples)
    assert [word.text for word in found] == [word for word, _, _ in known]
    words = [
        abs(distance)
        for word, (_, start, end) in zip(found, known, strict=True)
        for distance in (word.start - start, word.end - end)
    ]
    cues, place = [], 0
    for cue in make_cues(found, seconds(samples)):
        first, last = known[place], known[place + len(cue.words) - 1]
        cues += [abs(cue.start - first[1]), abs(cue.end - last[2])]
        place += len(cue.words)
    return words, cues


@pytest.mark.parametrize(
    "names, marked, noise, median, of_words, of_cues, most",
    [
        (PAUSED, True, False, 0.05, 0.99, 0.99, 0.4),
        (PAUSED, False, False, 0.05, 0.98, 0.97, 1.0),
        (PAUSED, True, True, 0.06, 0.98, 0.98, 0.5),
        (CONTINUOUS, False, False, 0.15, 0.95, 0.85, 0.5),
    ],
    ids=["punctuated", "without punctuation", "noise 20 dB below", "without a pause"],
)
def test_words_and_cues_have_the_times_of_the_speech(
    names: list[str], marked: bool, noise: bool, median: float, of_words: float, of_cues: float, most: float
) -> None:
    """The limits are median, shares within 0.3 s, and maximum of deviations in seconds; `-rP` prints the results."""
    found = [deviations(name, marked, noise) for name in names]
    words, cues = np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])
    within = (words <= TOLERANCE).mean(), (cues <= TOLERANCE).mean()
    print(
        f"words: median {np.median(words):.3f} s, {within[0]:.1%} within {TOLERANCE} s, at most {words.max():.2f} s;"
        f" cues: median {np.median(cues):.3f} s, {within[1]:.1%} within {TOLERANCE} s, at most {cues.max():.2f} s"
    )
    assert np.median(words) <= median
    assert within[0] >= of_words and within[1] >= of_cues
    assert max(words.max(), cues.max()) <= most


def in_order(words: list[Word], start: float, end: float) -> bool:
    """Return whether words do not overlap, are not empty, and are within the recording."""
    edges = [start, *(edge for word in words for edge in (word.start, word.end)), end]
    tolerance = 1e-6  # rounding error of sums
    return all(one <= other + tolerance for one, other in zip(edges, edges[1:], strict=False)) and all(
        word.start < word.end for word in words
    )


@given(
    text=st.text(st.sampled_from("aes x,.9語 é\u0301क"), max_size=200),
    level=st.sampled_from([0.0, 1e-4, 0.1]),
    count=st.integers(1, 3 * SAMPLING_RATE),
    offset=st.sampled_from([0.0, 7.25]),
)
def test_every_text_is_aligned_to_every_recording(text: str, level: float, count: int, offset: float) -> None:
    samples = np.random.default_rng(0).normal(0, 1, count) * level * (np.arange(count) // 4000 % 3 > 0)
    words = align_words(text, samples.astype(np.float32), offset)
    assert "".join(word.text for word in words) == "".join(text.split())
    assert in_order(words, offset, offset + count / SAMPLING_RATE)


@pytest.mark.parametrize("count, seconds", [(3000, 20), (400, 20), (2, 70), (1, 70), (150, 70)])
def test_degenerate_texts_need_little_time_and_memory(count: int, seconds: int) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, seconds * SAMPLING_RATE).astype(np.float32)
    words = align_words(" ".join(["a"] * count), samples)
    assert len(words) == count and in_order(words, 0, seconds)


def test_empty_texts_and_recordings_are_aligned() -> None:
    assert align_words(" \n", np.zeros(100, np.float32)) == []
    assert align_words("a b", np.zeros(0, np.float32), 2.0) == [Word(2.0, 2.0, "a"), Word(2.0, 2.0, "b")]


@pytest.mark.parametrize(
    "text, parts",
    [
        ("o'zbek  tili.", [("o'zbek", True), ("tili.", True)]),
        ("東京、 大", [("東", True), ("京、", False), ("大", True)]),
        ("「東」x", [("「", True), ("東」", False), ("x", False)]),
        ("한국어 말", [("한국어", True), ("말", True)]),
    ],
)
def test_words_of_scripts_with_and_without_spaces(text: str, parts: list[tuple[str, bool]]) -> None:
    assert split_words(text) == parts


def test_words_of_a_model_with_times_of_characters() -> None:
    spans = [(0.1 * place, 0.1 * place + 0.05) for place in range(6)]
    words = words_of_characters("un 字。dous"[:7], spans)
    assert [(word.text, word.start, word.end, word.spaced) for word in words] == [
        ("un", 0.0, spans[1][1], True),
        ("字。", spans[2][0], spans[3][1], True),
        ("do", spans[4][0], spans[5][1], False),
    ]
    assert words_of_characters("un", spans) == []
