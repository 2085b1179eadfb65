"""
Compute intervals over speakers for test sets with few of them, in which the bootstrap gives intervals that are too
narrow.

The variance is that of the jackknife that leaves out one speaker at a time (CR3). The quantile is that of Student's t
with the degrees of freedom of Satterthwaite's approximation, which Bell and McCaffrey (2002, "Bias Reduction in
Standard Errors for Linear Regression with Multi-Stage Samples") introduced for clusters; Imbens and Kolesár (2016,
"Robust Standard Errors in Small Samples: Some Practical Advice") recommend it, and Hansen (2022, "Jackknife Standard
Errors for Clustered Regression") derives it for the jackknife. A rate is the regression of the edits of each word on a
constant, with the speakers as clusters, so that the method applies without a change. Unequal numbers of words lower
the degrees of freedom.

The interval of a rate is computed on the logarithmic scale, because rates of few speakers are skewed; that of a
difference is not, because a difference may be negative. `bench/coverage.py` measures the coverage.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from escoita.records.evaluation import Interval


# With two speakers, the interval covers nearly all rates.
FEWEST = 3
# Nodes of the integral of the t distribution, which is then exact to 12 digits.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def rate_interval(edits: np.ndarray, words: np.ndarray) -> Interval | None:
    """
    Return the 95 % interval of an error rate over speakers.

    Args:
        edits (`np.ndarray`): Number of edits of each speaker, of shape `(speakers,)`.
        words (`np.ndarray`): Number of reference tokens of each speaker, of the same shape.

    Returns:
        `tuple[float, float]`: Lower and upper bound; None with fewer than three speakers, and if the speakers do not
        differ, for example because there are no edits.
    """
    found = _standard_error(edits, words)
    if found is None:
        return None
    rate, error, quantile = found
    if not (rate > 0 and error > 0):
        return None
    # A bound beyond this factor states nothing, and its power of e may overflow.
    factor = math.exp(min(quantile * error / rate, 50))
    return rate / factor, rate * factor


def difference_interval(edits: np.ndarray, words: np.ndarray) -> Interval | None:
    """
    Return the 95 % interval of the difference of two error rates over speakers.

    Args:
        edits (`np.ndarray`): Number of edits of the first system minus that of the second, of each speaker, of shape
            `(speakers,)`.
        words (`np.ndarray`): Number of reference tokens of each speaker, of the same shape.

    Returns:
        `tuple[float, float]`: Lower and upper bound; None with fewer than three speakers, and if the speakers do not
        differ.
    """
    found = _standard_error(edits, words)
    if found is None:
        return None
    value, error, quantile = found
    return (value - quantile * error, value + quantile * error) if error > 0 else None


def _standard_error(edits: np.ndarray, words: np.ndarray) -> tuple[float, float, float] | None:
    """Return a rate, its jackknife standard error, and the quantile of the interval."""
    total = float(words.sum())
    if len(words) < FEWEST or total <= 0 or words.max() >= total:
        return None
    rate = float(edits.sum()) / total
    share = words / total
    # The rate without a speaker, minus the rate with all speakers.
    changes = -(edits - rate * words) / (total - words)
    variance = (len(words) - 1) / len(words) * float((changes**2).sum())
    return rate, math.sqrt(variance), t_quantile(degrees_of_freedom(share))


def degrees_of_freedom(share: np.ndarray) -> float:
    """
    Return the degrees of freedom of the jackknife variance of a rate, under the working model that the edits of all
    words are independent and have the same variance (Bell and McCaffrey 2002).

    Args:
        share (`np.ndarray`): Share of each speaker in all words, of shape `(speakers,)`, with a sum of 1, each
            below 1. Equal shares give the number of speakers minus 1.
    """
    # The variance is a quadratic form of the edits by speaker, whose matrix has the elements
    # [i = j] weight[i] - pull[i] - pull[j] + common. Satterthwaite's number is the square of its trace over the trace
    # of its square, after multiplication with the variances of the edits, which are proportional to the words.
    weight = 1 / (1 - share) ** 2
    pull = weight * share
    common = float((pull * share).sum())
    diagonal = weight - 2 * pull + common
    trace = float((share * diagonal).sum())
    first, second = float((share * pull).sum()), float((share * pull**2).sum())
    square = common**2 + 2 * second - 4 * common * first + 2 * first**2
    square += float((share**2 * (diagonal**2 - (common - 2 * pull) ** 2)).sum())
    return trace**2 / square


def t_quantile(freedom: float) -> float:
    """
    Return the 97.5 % quantile of Student's t distribution.

    Args:
        freedom (`float`): Degrees of freedom, at least 1, not necessarily an integer.
    """
    # With t = sqrt(freedom) * tan(angle), the density is proportional to cos(angle) ** (freedom - 1).
    half = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    # Its integral is concave, so that Newton's method approaches the quantile from below without exceeding it.
    angle, step = 0.0, 1.0
    while step > 1e-13:
        below = angle / 2 * float(_WEIGHTS @ np.cos(angle / 2 * (_NODES + 1)) ** (freedom - 1))
        step = (0.95 * half - below) / math.cos(angle) ** (freedom - 1)
        angle += step
    return math.sqrt(freedom) * math.tan(angle)


# Edits of each speaker, reference tokens of each speaker, and the function that returns their interval.
Part = tuple[np.ndarray, np.ndarray, Callable[[np.ndarray, np.ndarray], Interval | None]]


def pooled_interval(parts: Iterable[Part | None]) -> Interval | None:
    """
    Return the interval over speakers of one corpus, or of several pooled by their tokens.

    Args:
        parts (`Iterable[tuple | None]`): Edits, tokens and function of each corpus; None if a clip has no speaker.

    Returns:
        `tuple[float, float]`: Lower and upper bound; None if a corpus has no interval.
    """
    found = []
    for part in parts:
        if part is None or (bounds := part[2](part[0], part[1])) is None:
            return None
        tokens = float(part[1].sum())
        found.append((tokens, float(part[0].sum()) / tokens, bounds))
    total = sum(tokens for tokens, _, _ in found)
    if len(found) == 1:
        return found[0][2]
    return recovered([(tokens / total, value, bounds) for tokens, value, bounds in found])[1]


def recovered(parts: Sequence[tuple[float, float, Interval]]) -> tuple[float, Interval]:
    """
    Return a weighted sum of estimates and its interval, computed from the intervals of the estimates: the method of
    variance estimates recovery (MOVER; Zou and Donner 2008, "Construction of confidence intervals about effect
    measures").

    The method assumes independent estimates. Rates on the same clips are correlated, so the interval of their
    difference is wider than necessary, which is conservative.

    Args:
        parts (`Sequence[tuple[float, float, tuple[float, float]]]`): Weight (negative to subtract), estimate and
            interval of each.

    Returns:
        `tuple[float, tuple[float, float]]`: The sum and its interval.
    """
    value = below = above = 0.0
    for weight, estimate, (low, high) in parts:
        value += weight * estimate
        down, up = sorted((weight * low, weight * high))
        below += (weight * estimate - down) ** 2
        above += (up - weight * estimate) ** 2
    return value, (value - math.sqrt(below), value + math.sqrt(above))
