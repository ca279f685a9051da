"""The few formulas behind the comparison. What comes out has the unit of what went in."""

import math
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
RESAMPLES = 9_999
"""Sign flips drawn where they can't all be listed: beyond 13 pairs."""
AT_ONCE = 400_000
"""Flipped sums computed at a time: as many as a cache holds."""
PAIRS_AT_ONCE = 1_000
"""Whose sign flips lie in memory at a time: 80 MB."""
VALUES_AT_ONCE = 2**24
"""Of a table of seeds and samples, in double precision: 128 MB."""

POWER = 0.8
FAR = 10
"""Times the range of the others: another outcome, not another draw of the same."""

MOST_SEEDS = 1_000

Values = NDArray[np.float64]


def mean_interval(values: Values, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Student's interval, mean ± t(0.975, n - 1) sd / sqrt(n) for 95%; NaN below two values."""
    low, high = mean_intervals(values[None], confidence)
    return float(low[0]), float(high[0])


def mean_intervals(values: Values, confidence: float = CONFIDENCE) -> tuple[Values, Values]:
    """`mean_interval` of each row of values [rows, n]."""
    n = values.shape[1]
    if n < 2:
        return np.full(len(values), math.nan), np.full(len(values), math.nan)
    quantile = stats.t.ppf(0.5 + confidence / 2, n - 1)
    half_width = quantile * np.std(values, axis=1, ddof=1) / math.sqrt(n)
    mean = np.mean(values, axis=1)
    return mean - half_width, mean + half_width


def binomial_half_width(share: float, samples: float) -> float:
    """Half the 95% interval of a share of finitely many samples: z sqrt(p (1 - p) / n)."""
    quantile = stats.norm.ppf(0.5 + CONFIDENCE / 2)
    return float(quantile * math.sqrt(share * (1 - share) / samples))


def permutation_p_values(differences: Values) -> Values:
    """Two-sided p of the mean of each row of paired differences [rows, pairs] under sign flips.

    2 P(flipped mean >= |mean|), at most 1: over every flip up to 13 pairs; beyond, over 9,999 from
    a fixed seed and the observed one. NaN without pairs or with a NaN.
    """
    rows, pairs = differences.shape
    if pairs == 0:
        return np.full(rows, math.nan)
    flipped, drawn = (2**pairs, 0) if is_exact(pairs) else (RESAMPLES, 1)
    ties = 1e-12 * np.abs(differences).sum(axis=1)  # sums that are equal but for their rounding
    reached = np.abs(differences.sum(axis=1)) - ties
    counts = np.empty(rows)
    of_many = pairs > PAIRS_AT_ONCE
    sums_of = _flipped_sums_of_many if of_many else _flipped_sums
    step = max((VALUES_AT_ONCE if of_many else AT_ONCE) // flipped, 1)
    for some in (slice(start, start + step) for start in range(0, rows, step)):
        sums = sums_of(differences[some])
        counts[some] = np.count_nonzero(sums >= reached[some, None], axis=1)
    p = np.minimum(2 * (counts + drawn) / (flipped + drawn), 1.0)
    return np.where(np.isnan(reached), math.nan, p)


def _flipped_sums(differences: Values) -> Values:
    """Of each row [rows, pairs] under each flip [rows, flips]."""
    return differences @ _sign_flips(differences.shape[1])


def _flipped_sums_of_many(differences: Values) -> Values:
    """The same up to rounding, by the same flips: of thousands of pairs they are drawn in parts."""
    rows, pairs = differences.shape
    draws = np.random.default_rng(0)
    sums = np.zeros((rows, RESAMPLES))
    for start in range(0, pairs, PAIRS_AT_ONCE):
        part = differences[:, start : start + PAIRS_AT_ONCE]
        sums += part @ _draw_flips(draws, part.shape[1])
    return sums


@cache
def _sign_flips(pairs: int) -> Values:
    """[pairs, flips] of 1 and -1."""
    if is_exact(pairs):
        return np.array(list(product((1.0, -1.0), repeat=pairs))).T.copy()
    return _draw_flips(np.random.default_rng(0), pairs)


def _draw_flips(draws: np.random.Generator, pairs: int) -> Values:
    return draws.choice([1.0, -1.0], (pairs, RESAMPLES))


def is_exact(pairs: int) -> bool:
    return 2**pairs <= RESAMPLES


def equivalence_p_values(differences: Values, margin: float) -> Values:
    """The larger p of two one-sided t tests: of a mean at most -margin, and of one at least margin.

    TOST (Schuirmann 1987) for each row of paired differences [rows, pairs]: small where the mean
    certainly lies within the margin. NaN below two pairs or with a NaN.
    """
    rows, pairs = differences.shape
    if pairs < 2:
        return np.full(rows, math.nan)
    room = margin - np.abs(np.mean(differences, axis=1))
    error = np.std(differences, axis=1, ddof=1) / math.sqrt(pairs)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stats.t.sf(room / error, pairs - 1)
    certain = np.where(room > 0, 0.0, 1.0)
    return np.where(np.isnan(room), math.nan, np.where(error == 0, certain, p))


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
    step = max(VALUES_AT_ONCE // samples, 1)
    rest = sum(
        float(((part - of_seed[start : start + step, None] - of_sample + mean) ** 2).sum())
        for start in range(0, seeds, step)
        for part in [differences[start : start + step]]
    )
    freedom = np.array([seeds - 1, samples - 1, (seeds - 1) * (samples - 1)])
    squares = (samples * of_seed.var() * seeds, seeds * of_sample.var() * samples, rest)
    mean_squares = np.array(squares) / freedom
    variance = max(mean_squares @ [1, 1, -1], mean_squares[2])  # the rest alone is the least
    if variance == 0:
        return mean, mean
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, variance**2 / (mean_squares**2 / freedom).sum())
    half_width = float(quantile * math.sqrt(variance / (seeds * samples)))
    return mean - half_width, mean + half_width


def count_far_off(values: Values, least: float) -> int:
    """How many values are another outcome than the rest: none, or the smaller of two groups.

    The widest gap parts the groups; it is wider than `least` and than ten times the range of the
    larger group. In 6 normal values that comes by chance in 0.3%, in 10 in less than 0.1%; fewer
    than 6, without NaN, say nothing.
    """
    known = np.sort(values[~np.isnan(values)])
    if len(known) < seeds_needed(1):
        return 0
    gaps = np.diff(known)
    place = int(np.argmax(gaps))
    groups = known[: place + 1], known[place + 1 :]
    larger = max(groups, key=len)
    width = FAR * float(larger[-1] - larger[0])
    return min(map(len, groups)) if gaps[place] > max(width, least) else 0


def holm(p_values: Values) -> Values:
    """Holm's step-down correction in each row [..., tests]. A NaN was never tested and stays."""
    order = np.argsort(p_values, axis=-1, kind="stable")  # NaN comes last
    tested = np.count_nonzero(~np.isnan(p_values), axis=-1)[..., None]
    factors = np.maximum(tested - np.arange(p_values.shape[-1]), 1)
    steps = np.minimum(np.take_along_axis(p_values, order, axis=-1) * factors, 1.0)
    corrected = np.empty_like(p_values)
    np.put_along_axis(corrected, order, np.maximum.accumulate(steps, axis=-1), axis=-1)
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
