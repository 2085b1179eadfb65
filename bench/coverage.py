"""
Measure how often the 95 % intervals over speakers contain the true value, in simulated test sets.

    python -m bench.coverage

A test set has N speakers with unequal numbers of clips. The rate of a speaker is drawn from a beta distribution, the
length of a clip from a Poisson distribution, and the edits of a clip from a Poisson distribution whose mean varies
between the clips. For differences, the second system multiplies the rate of each speaker by an effect that varies
between the speakers, and both systems have half of the edits of the better one in common. The true value is the one
over all speakers. Prints the table of docs/explanation/rates.md.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from escoita.evaluation.speakers import difference_interval, rate_interval
from escoita.records.evaluation import Interval


SPEAKERS = (3, 5, 8, 10, 20)
REPETITIONS = 2000
SEED = 1
# Mean WER of the speakers, its standard deviation over the mean, and the mean number of clips of a speaker.
MEANS, SPREADS, CLIPS = (0.05, 0.15, 0.3), (0.3, 0.6), (15, 50)
# Factors between the rates of two systems, and the standard deviation of their logarithm between speakers.
EFFECTS, EFFECT_SPREADS = (1.0, 0.7, 0.4), (0.1, 0.3)
WORDS_OF_A_CLIP = 10


@dataclass(frozen=True)
class Coverage:
    """
    Store the share of intervals that contain the true value, with a fixed number of speakers.

    Args:
        speakers (`int`): Number of speakers.
        rates (`list[float]`): Share of each simulated situation, for rates.
        differences (`list[float]`): The same for differences.
    """

    speakers: int
    rates: list[float]
    differences: list[float]


def simulate(repetitions: int = REPETITIONS, seed: int = SEED) -> Iterator[Coverage]:
    """
    Yield the coverage for each number of speakers.

    Args:
        repetitions (`int`, *optional*, defaults to 2000): Number of test sets of each situation.
        seed (`int`, *optional*, defaults to 1): Random seed.
    """
    draw = np.random.default_rng(seed)
    for speakers in SPEAKERS:
        shape = (repetitions, speakers)
        rates = []
        for mean, spread, clips in product(MEANS, SPREADS, CLIPS):
            words, number = _words(draw, shape, clips)
            edits = _edits(draw, words, number, _speaker_rates(draw, mean, spread, shape))
            rates.append(_covered(rate_interval, edits, words, mean))
        differences = []
        for mean, spread, effect, varies in product(MEANS[1:], SPREADS, EFFECTS, EFFECT_SPREADS):
            words, number = _words(draw, shape, CLIPS[1])
            one = _speaker_rates(draw, mean, spread, shape)
            other = one * effect * np.exp(draw.normal(-(varies**2) / 2, varies, shape))
            common = np.minimum(one, other) / 2
            edits = _edits(draw, words, number, other - common) - _edits(draw, words, number, one - common)
            differences.append(_covered(difference_interval, edits, words, mean * effect - mean))
        yield Coverage(speakers, rates, differences)


def _words(draw: np.random.Generator, shape: tuple[int, int], clips: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the words and the clips of each speaker."""
    number = np.maximum(1, np.round(clips * np.exp(draw.normal(-0.125, 0.5, shape))))
    return number + draw.poisson((WORDS_OF_A_CLIP - 1) * number), number


def _speaker_rates(draw: np.random.Generator, mean: float, spread: float, shape: tuple[int, int]) -> np.ndarray:
    size = mean * (1 - mean) / (spread * mean) ** 2 - 1
    return draw.beta(mean * size, (1 - mean) * size, shape)


def _edits(draw: np.random.Generator, words: np.ndarray, clips: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return the edits of each speaker; the factor of a clip on its rate has a variance of 0.5."""
    shape = 2 * clips
    return draw.poisson(words * rates * draw.gamma(shape, 1 / shape))


def _covered(
    interval: Callable[[np.ndarray, np.ndarray], Interval | None], edits: np.ndarray, words: np.ndarray, true: float
) -> float:
    """Return the share of intervals that contain the true value, among the test sets that have an interval."""
    found = [bounds for row in zip(edits, words, strict=True) if (bounds := interval(*row)) is not None]
    return float(np.mean([low <= true <= high for low, high in found]))


def table(found: list[Coverage]) -> str:
    """Return mean, lowest and highest coverage as a table in Markdown."""
    lines = ["| Speakers | Rate | Difference |", "|---:|---|---|"]
    for each in found:
        cells = [
            f"{100 * np.mean(shares):.1f} % ({100 * min(shares):.1f} to {100 * max(shares):.1f})"
            for shares in (each.rates, each.differences)
        ]
        lines.append(f"| {each.speakers} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(list(simulate())))
