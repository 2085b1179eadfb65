"""
How far rates, and the difference of two systems, would move if other utterances had been drawn.

Everything begins with sums over corpora drawn anew; one draw serves all systems, so that they stay paired:

    counts = np.stack([adapter.total, adapter.reference, base.total, base.reference], axis=1)
    unit, _ = resampling_unit(speakers)
    sums = resampled(counts, 1000, speakers if unit == "speaker" else None, seed_of(corpus))
    ours, theirs = rates(sums[:, 0], sums[:, 1]), rates(sums[:, 2], sums[:, 3])
    interval(ours), difference(adapter.rate, base.rate, ours, theirs)

A pool is stratified: its sums are the sums of its corpora's, each drawn from a stream of its own.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from escoita.records.evaluation import Measured


# Intervals from few clusters are too narrow (Cameron, Gelbach and Miller 2008, "Bootstrap-Based Improvements for
# Inference with Clustered Errors", who call 5 to 30 few); this is a compromise, as most test sets have no more.
FEWEST_SPEAKERS = 10

Unit = Literal["utterance", "speaker"]


@dataclass(frozen=True)
class PairedDifference:
    """
    One system against another on the same utterances.

    Args:
        value (`float`): Rate of the one minus rate of the other; below 0 the one is better.
        ci95 (`tuple[float, float]`): 95 % percentile interval of the difference.
        p_value (`float`): Two-sided: how often resampling alone would turn the difference around.
        verdict (`str`): See [`verdict_of`].
    """

    value: float
    ci95: tuple[float, float]
    p_value: float
    verdict: Measured


def resampling_unit(speakers: Sequence[str]) -> tuple[Unit, int]:
    """
    What is to be drawn: speakers, as the utterances of one are alike (Liu and Peng 2020, "Statistical Testing on ASR
    Performance via Blockwise Bootstrap"), or utterances where not every speaker is known or there are fewer than ten.
    The interval then says nothing of other speakers, only of other utterances of these.

    Args:
        speakers (`Sequence[str]`): Who speaks each utterance, empty where unknown.

    Returns:
        `tuple[str, int]`: `speaker` and how many there are, or `utterance` and how many there are.
    """
    known = set(speakers)
    if "" in known or len(known) < FEWEST_SPEAKERS:
        return "utterance", len(speakers)
    return "speaker", len(known)


def seed_of(name: str, seed: int = 0) -> int:
    """
    Seed of a corpus' own stream of draws: the same whatever corpora stand beside it, different between corpora.

    Args:
        name (`str`): Name of the corpus.
        seed (`int`, *optional*, defaults to 0): Gives other streams to all corpora.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8])


def resampled(
    counts: np.ndarray, resamples: int, groups: Sequence[str] | np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """
    Sums over corpora drawn anew with replacement (Bisani and Ney 2004, "Bootstrap Estimates for Confidence Intervals
    in ASR Performance Evaluation").

    Args:
        counts (`np.ndarray`): Of shape `(utterances, k)`, integers: edits and reference lengths of any number of
            systems, side by side. At least one utterance.
        resamples (`int`): How often the corpus is drawn.
        groups (`Sequence[str]` or `np.ndarray`, *optional*): Of each utterance, such as its speaker: whole groups are
            drawn instead, as many as there are (cluster bootstrap, Davison and Hinkley 1997).
        seed (`int`, *optional*, defaults to 0): The same seed gives the same sums.

    Returns:
        `np.ndarray`: Of shape `(resamples, k)`, float64, exact for sums under 2**53.

    Raises:
        ValueError: There are no utterances, or not as many groups as utterances.
    """
    if groups is not None:
        counts = _summed(counts, groups)
    units = len(counts)
    if units == 0:
        raise ValueError("there is nothing to draw from")
    weights = np.ascontiguousarray(counts, dtype=np.float64)
    draw = np.random.default_rng(seed)
    sums = np.empty((resamples, weights.shape[1]))
    for row in sums:
        # How often each was drawn, times its counts: no drawn corpus is ever gathered.
        row[:] = np.bincount(draw.integers(units, size=units), minlength=units) @ weights
    return sums


def rates(edits: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Rates from sums; without reference tokens the edits themselves, as [`escoita.metrics.wer.Edits`] has it."""
    return edits / np.maximum(1, reference)


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """
    95 % percentile interval (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13).

    Args:
        drawn (`np.ndarray`): Of shape `(resamples,)`: rates, or differences of rates, of the corpora drawn anew.

    Returns:
        `tuple[float, float]`: Lower and upper bound.
    """
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def smallest_p_value(units: int) -> float:
    """
    What a two-sided sign test gives when all pairs, speakers or utterances, point the same way.

    A bootstrap takes a handful of pairs for certain; of one pair there is only one draw.
    """
    return min(1.0, 2 * 0.5**units)


def verdict_of(ci95: tuple[float, float], p_value: float) -> Measured:
    """
    What an interval and a p-value say together: of few draws the one may say more than the other, so both must.

    Args:
        ci95 (`tuple[float, float]`): Of the rate of the one minus that of the other.
        p_value (`float`): Of the difference; where it is not known, the least that it can be.
    """
    if p_value > 0.05 or ci95[0] <= 0 <= ci95[1]:
        return "no measurable difference"
    return "better" if ci95[1] < 0 else "worse"


def difference(
    observed_a: float, observed_b: float, rates_a: np.ndarray, rates_b: np.ndarray, least_p_value: float = 0.0
) -> PairedDifference:
    """
    Compares two systems by rates of the same draws (Bisani and Ney 2004).

    The p-value is twice the smaller share of draws on either side of 0 (achieved significance level, Efron and
    Tibshirani 1993, chapter 15), the observed corpus counted among them, so that it is never 0 (Davison and Hinkley
    1997, "Bootstrap Methods and their Application", chapter 4).

    Args:
        observed_a (`float`): Rate of the one on the corpus.
        observed_b (`float`): Rate of the other.
        rates_a (`np.ndarray`): Of shape `(resamples,)`: rates of the one on corpora drawn anew.
        rates_b (`np.ndarray`): Of the other on the same corpora, in the same order.
        least_p_value (`float`, *optional*, defaults to 0): No p-value is below; see [`smallest_p_value`].

    Returns:
        [`PairedDifference`]: Value, interval, p-value and verdict.
    """
    drawn = rates_a - rates_b
    ci95 = interval(drawn)
    smaller = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    p_value = max(least_p_value, min(1.0, 2 * (smaller + 1) / (len(drawn) + 1)))
    return PairedDifference(observed_a - observed_b, ci95, p_value, verdict_of(ci95, p_value))


def _summed(counts: np.ndarray, groups: Sequence[str] | np.ndarray) -> np.ndarray:
    """Counts of each group, one row a group."""
    if len(groups) != len(counts):
        raise ValueError(f"{len(groups)} groups for {len(counts)} utterances")
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    return np.stack([np.bincount(members, column, minlength=len(names)) for column in counts.T], axis=1)
