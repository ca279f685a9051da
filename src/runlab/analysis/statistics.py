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
POWER = 0.8
MOST_SEEDS = 1_000

Values = NDArray[np.float64]


def mean_interval(values: Values, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Student's interval, mean ± t(0.975, n - 1) sd / sqrt(n) for 95%; NaN below two values."""
    if len(values) < 2:
        return math.nan, math.nan
    quantile = stats.t.ppf(0.5 + confidence / 2, len(values) - 1)
    half_width = float(quantile * np.std(values, ddof=1) / math.sqrt(len(values)))
    mean = float(np.mean(values))
    return mean - half_width, mean + half_width


def binomial_half_width(share: float, samples: float) -> float:
    """Half the 95% interval of a share of finitely many samples: z sqrt(p (1 - p) / n)."""
    quantile = stats.norm.ppf(0.5 + CONFIDENCE / 2)
    return float(quantile * math.sqrt(share * (1 - share) / samples))


def permutation_p_value(differences: Values) -> float:
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


def equivalence_p_value(differences: Values, margin: float) -> float:
    """The larger p of two one-sided t tests: of a mean at most -margin, and of one at least margin.

    TOST (Schuirmann 1987): small where the mean certainly lies within the margin. NaN below two
    values or with a NaN.
    """
    if len(differences) < 2 or bool(np.isnan(differences).any()):
        return math.nan
    room = margin - abs(float(np.mean(differences)))
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    if error == 0:
        return 0.0 if room > 0 else 1.0
    return float(stats.t.sf(room / error, len(differences) - 1))


def superiority(differences: Values) -> tuple[float, float, float]:
    """P(A > B): the share of pairs with a positive difference, ties half, and its 95% interval.

    The interval is Wilson's (1927). NaN without pairs or with a NaN.
    """
    n = len(differences)
    if n == 0 or bool(np.isnan(differences).any()):
        return math.nan, math.nan, math.nan
    share = float(np.mean((np.sign(differences) + 1) / 2))
    z2 = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half_width = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n) / (1 + z2 / n)
    return share, max(middle - half_width, 0.0), min(middle + half_width, 1.0)


def two_way_interval(differences: NDArray) -> tuple[float, float]:
    """95% interval of the mean of differences [seeds, samples], as if both had been drawn anew.

    Of the model mean + seed + sample + rest, all random, by its analysis of variance: the squared
    standard error is (MS_seeds + MS_samples - MS_rest) / (seeds samples), Satterthwaite's (1946)
    approximation gives the degrees of freedom. NaN below two seeds or two samples.
    """
    seeds, samples = differences.shape
    if min(seeds, samples) < 2:
        return math.nan, math.nan
    mean = float(differences.mean())
    of_seed, of_sample = differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - of_seed[:, None] - of_sample + mean
    freedom = np.array([seeds - 1, samples - 1, (seeds - 1) * (samples - 1)])
    squares = (samples * of_seed.var() * seeds, seeds * of_sample.var() * samples, (rest**2).sum())
    mean_squares = np.array(squares) / freedom
    variance = max(mean_squares @ [1, 1, -1], mean_squares[2])  # the rest alone is the least
    if variance == 0:
        return mean, mean
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, variance**2 / (mean_squares**2 / freedom).sum())
    half_width = float(quantile * math.sqrt(variance / (seeds * samples)))
    return mean - half_width, mean + half_width


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


def seeds_for_equivalence(margin: float, sd: float, comparisons: int) -> int | None:
    """The fewest pairs that show equivalence in 4 of 5 sweeps where there is no difference.

    By two one-sided t tests, at 5% over all comparisons, of pairs with this sd: approximately
    2 Φ(margin sqrt(n) / sd - t) - 1 with Student's quantile t. None if more than 1,000.
    """
    n = np.arange(2, MOST_SEEDS + 1)
    quantiles = stats.t.ppf(1 - SIGNIFICANCE / comparisons, n - 1)
    enough = n[2 * stats.norm.cdf(margin * np.sqrt(n) / sd - quantiles) - 1 >= POWER]
    return int(enough[0]) if len(enough) else None
