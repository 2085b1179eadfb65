"""
Compute confidence intervals of error rates, and of the difference of two systems, by the bootstrap.

The first step is to sum the counts over resampled corpora. All systems share the same draws, so that they stay paired:

    counts = np.stack([adapter.total, adapter.reference, base.total, base.reference], axis=1)
    unit, _ = resampling_unit(speakers)
    sums = resampled(counts, 1000, speakers if unit == "speaker" else None, seed_of(corpus))
    ours, theirs = rates(sums[:, 0], sums[:, 1]), rates(sums[:, 2], sums[:, 3])
    interval(ours), difference(adapter.rate, base.rate, ours, theirs)

A pool is stratified: its sums are those of its corpora, each resampled with its own random numbers.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from escoita.records.evaluation import Measured


# Intervals from few clusters are too narrow (Cameron, Gelbach and Miller 2008, "Bootstrap-Based Improvements for
# Inference with Clustered Errors", who call 5 to 30 few). Ten is a compromise, because most test sets have few.
FEWEST_SPEAKERS = 10

Unit = Literal["utterance", "speaker"]


@dataclass(frozen=True)
class PairedDifference:
    """
    Store the difference of two systems on the same utterances.

    Args:
        value (`float`): Rate of the first minus rate of the second; negative if the first is better.
        ci95 (`tuple[float, float]`): 95 % percentile interval of the difference.
        p_value (`float`): Two-sided p-value.
        verdict (`str`): See [`verdict_of`].
    """

    value: float
    ci95: tuple[float, float]
    p_value: float
    verdict: Measured


def resampling_unit(speakers: Sequence[str]) -> tuple[Unit, int]:
    """
    Return the resampling unit and the number of units: speakers, because utterances of one speaker are correlated (Liu
    and Peng 2020, "Statistical Testing on ASR Performance via Blockwise Bootstrap"); or utterances, if a speaker is
    unknown or there are fewer than ten. The interval then covers only other utterances of the same speakers.

    Args:
        speakers (`Sequence[str]`): Speaker of each utterance, empty if unknown.

    Returns:
        `tuple[str, int]`: `speaker` or `utterance`, and the number of them.
    """
    known = set(speakers)
    if "" in known or len(known) < FEWEST_SPEAKERS:
        return "utterance", len(speakers)
    return "speaker", len(known)


def seed_of(name: str) -> int:
    """
    Return the random seed of a corpus, which differs between corpora and does not depend on the other corpora.

    Args:
        name (`str`): Name of the corpus.
    """
    return int.from_bytes(hashlib.sha256(f"0/{name}".encode()).digest()[:8])


def resampled(
    counts: np.ndarray, resamples: int, groups: Sequence[str] | np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """
    Return sums over corpora that are resampled with replacement (Bisani and Ney 2004, "Bootstrap Estimates for
    Confidence Intervals in ASR Performance Evaluation").

    Args:
        counts (`np.ndarray`): Edits and reference lengths of any number of systems, integers of shape
            `(utterances, k)`, with at least one utterance.
        resamples (`int`): Number of resamples.
        groups (`Sequence[str]` or `np.ndarray`, *optional*): Group of each utterance, such as its speaker. If given,
            groups are resampled instead of utterances (cluster bootstrap, Davison and Hinkley 1997).
        seed (`int`, *optional*, defaults to 0): Random seed. The same seed gives the same sums.

    Returns:
        `np.ndarray`: Sums of shape `(resamples, k)`, float64, exact below 2**53.

    Raises:
        ValueError: There are no utterances, or the numbers of groups and utterances differ.
    """
    if groups is not None:
        counts = summed(counts, groups)
    units = len(counts)
    if units == 0:
        raise ValueError("no utterances to resample")
    weights = np.ascontiguousarray(counts, dtype=np.float64)
    draw = np.random.default_rng(seed)
    sums = np.empty((resamples, weights.shape[1]))
    for row in sums:
        # The number of draws of each unit, times its counts: no resampled corpus is ever built.
        row[:] = np.bincount(draw.integers(units, size=units), minlength=units) @ weights
    return sums


def rates(edits: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return rates from sums; without reference tokens, the number of edits, as [`escoita.metrics.wer.Edits`] does."""
    return edits / np.maximum(1, reference)


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """
    Return the 95 % percentile interval (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13).

    Args:
        drawn (`np.ndarray`): Rates, or differences of rates, on the resamples, of shape `(resamples,)`.

    Returns:
        `tuple[float, float]`: Lower and upper bound.
    """
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def smallest_p_value(units: int) -> float:
    """
    Return the p-value of a two-sided sign test in which all pairs, speakers or utterances, have the same sign.

    The bootstrap alone underestimates the p-value for few pairs; for one pair there is only one possible draw.
    """
    return min(1.0, 2 * 0.5**units)


def verdict_of(ci95: tuple[float, float], p_value: float) -> Measured:
    """
    Return the verdict from interval and p-value. With few draws they can disagree, so both must be significant.

    Args:
        ci95 (`tuple[float, float]`): 95 % interval of the rate of the first system minus that of the second.
        p_value (`float`): p-value of the difference; if it is not known, the smallest possible one.
    """
    if p_value > 0.05 or ci95[0] <= 0 <= ci95[1]:
        return "no measurable difference"
    return "better" if ci95[1] < 0 else "worse"


def difference(
    observed_a: float, observed_b: float, rates_a: np.ndarray, rates_b: np.ndarray, least_p_value: float = 0.0
) -> PairedDifference:
    """
    Compare two systems by their rates on the same draws (Bisani and Ney 2004).

    The p-value is twice the smaller share of draws on either side of 0 (achieved significance level, Efron and
    Tibshirani 1993, chapter 15). The observed corpus counts as one draw, so that the p-value is never 0 (Davison and
    Hinkley 1997, "Bootstrap Methods and their Application", chapter 4).

    Args:
        observed_a (`float`): Rate of the first system on the corpus.
        observed_b (`float`): Rate of the second system.
        rates_a (`np.ndarray`): Rates of the first system on the resamples, of shape `(resamples,)`.
        rates_b (`np.ndarray`): Rates of the second system on the same resamples, in the same order.
        least_p_value (`float`, *optional*, defaults to 0): Lower limit of the p-value; see [`smallest_p_value`].

    Returns:
        [`PairedDifference`]: Value, interval, p-value and verdict.
    """
    drawn = rates_a - rates_b
    ci95 = interval(drawn)
    smaller = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    p_value = max(least_p_value, min(1.0, 2 * (smaller + 1) / (len(drawn) + 1)))
    return PairedDifference(observed_a - observed_b, ci95, p_value, verdict_of(ci95, p_value))


def summed(counts: np.ndarray, groups: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return the sums of the counts of each group, one row for each group in sorted order."""
    if len(groups) != len(counts):
        raise ValueError(f"{len(groups)} groups for {len(counts)} utterances")
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    return np.stack([np.bincount(members, column, minlength=len(names)) for column in counts.T], axis=1)
