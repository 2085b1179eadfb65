"""Intervals: how far a rate would move if other utterances had been drawn."""

import numpy as np


def interval(edits: np.ndarray, reference: np.ndarray, resamples: int, seed: int = 0) -> tuple[float, float]:
    """
    95 % percentile bootstrap interval of a corpus rate (Bisani and Ney 2004), resampling utterances.

    Args:
        edits (`np.ndarray`): Edits of each utterance, of shape `(utterances,)`.
        reference (`np.ndarray`): Reference tokens of each utterance, of the same shape.
        resamples (`int`): How often the corpus is drawn anew.
        seed (`int`, *optional*, defaults to 0): Of the draws; the same seed gives the same interval.

    Returns:
        `tuple[float, float]`: Lower and upper bound, fractions.
    """
    draw = np.random.default_rng(seed)
    rates = np.empty(resamples)
    for index in range(resamples):
        rows = draw.integers(len(edits), size=len(edits))
        rates[index] = edits[rows].sum() / max(1, reference[rows].sum())
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)
