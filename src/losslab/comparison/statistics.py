"""The few formulas behind the comparison. What comes out has the unit of what went in."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
RESAMPLES = 9_999
"""Sign flips drawn where they can't all be listed: beyond 13 pairs."""


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Student's 95% interval, mean ± t(0.975, n - 1) sd / sqrt(n); NaN below two values."""
    if len(values) < 2:
        return math.nan, math.nan
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)
    half_width = float(quantile * np.std(values, ddof=1) / math.sqrt(len(values)))
    mean = float(np.mean(values))
    return mean - half_width, mean + half_width


def binomial_half_width(accuracy: float, images: float) -> float:
    """Half the 95% interval of an accuracy on finitely many images: z sqrt(p (1 - p) / n)."""
    quantile = stats.norm.ppf(0.5 + CONFIDENCE / 2)
    return float(quantile * math.sqrt(accuracy * (1 - accuracy) / images))


def permutation_p_value(differences: NDArray[np.float64]) -> float:
    """Two-sided p of the mean paired difference under sign flips; NaN without pairs or with a NaN.

    Exact up to 13 pairs; beyond, from 9,999 flips drawn from a fixed seed.
    """
    if len(differences) == 0 or bool(np.isnan(differences).any()):
        return math.nan
    if len(differences) == 1:
        return 1.0
    test = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        random_state=np.random.default_rng(0),
    )
    return float(test.pvalue)


def is_exact(pairs: int) -> bool:
    return 2**pairs <= RESAMPLES


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the given order. A NaN was never tested and stays NaN."""
    tested = [index for index, p in enumerate(p_values) if not math.isnan(p)]
    corrected = [math.nan] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(tested, key=lambda index: p_values[index])):
        running = max(running, min(1.0, (len(tested) - rank) * p_values[index]))
        corrected[index] = running
    return corrected


def seeds_needed(comparisons: int) -> int:
    """The fewest pairs whose smallest corrected p, comparisons * 2^(1 - n), is under 0.05."""
    return math.floor(1 + math.log2(comparisons / SIGNIFICANCE)) + 1
