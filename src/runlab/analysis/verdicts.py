"""The rule that judges a pair of arms: in the sweep as it is, and in resamples of its seeds."""

import math
from collections.abc import Mapping
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from runlab.analysis.statistics import (
    SIGNIFICANCE,
    Values,
    equivalence_p_values,
    holm,
    mean_intervals,
    permutation_p_values,
    seeds_needed,
)

EQUIVALENCE_CONFIDENCE = 0.90
"""Of the interval that lies within the margin exactly when two one-sided 5% tests say so."""

EVIDENCE = ("pairs", "difference", "low", "high", "p", "p_equivalent")


class Verdict(StrEnum):
    """On a pair of arms; the last four say why there is none."""

    ARM_BETTER = "arm better"
    OTHER_BETTER = "other better"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"
    TOO_FEW = "too few seeds"
    UNKNOWN = "not known"
    UNPAIRED = "no seed in common"
    NONE_SOUND = "none sound"


def weigh(differences: Values, margin: float | None) -> dict[str, Values]:
    """The evidence in each row of paired differences [rows, pairs], in the measure's unit.

    `low` and `high` are Student's 95% interval of their mean, `p` is the permutation test's and
    `p_equivalent` that of two one-sided t tests against the margin. NaN where one is not known.
    """
    rows, pairs = differences.shape
    unknown = np.full(rows, math.nan)
    low, high = mean_intervals(differences)
    return {
        "pairs": np.full(rows, float(pairs)),
        "difference": np.mean(differences, axis=1) if pairs else unknown,
        "low": low,
        "high": high,
        "p": permutation_p_values(differences),
        "p_equivalent": unknown if margin is None else equivalence_p_values(differences, margin),
    }


def correct(evidence: Mapping[str, Values]) -> dict[str, Values]:
    """Both kinds of p [..., pairs of arms], each corrected by Holm over the pairs of arms."""
    return {f"{p}_holm": holm(evidence[p]) for p in ("p", "p_equivalent")}


def judge(
    evidence: Mapping[str, Values], none_sound: NDArray[np.bool_], higher_is_better: bool
) -> NDArray:
    """The verdict on each pair of arms; all arrays are [..., pairs of arms].

    A difference takes the permutation test and the interval, both; equivalence the two one-sided
    tests. Each p is corrected over the pairs of arms, and as many seeds are needed as that takes.

    Args:
        evidence: what `weigh` and `correct` say.
        none_sound: whether every run of both arms diverged or collapsed.
    """
    pairs, tested = evidence["pairs"], ~np.isnan(evidence["p"])
    by_tests = np.array([seeds_needed(max(tests, 1)) for tests in range(tested.shape[-1] + 1)])
    needed = by_tests[np.count_nonzero(tested, axis=-1)][..., None]
    excludes_zero = (evidence["low"] > 0) | (evidence["high"] < 0)
    differs = (evidence["p_holm"] < SIGNIFICANCE) & excludes_zero
    ahead = evidence["difference"] > 0 if higher_is_better else evidence["difference"] < 0
    rule = {
        Verdict.NONE_SOUND: none_sound,
        Verdict.UNPAIRED: pairs == 0,
        Verdict.UNKNOWN: np.isnan(evidence["difference"]),
        Verdict.TOO_FEW: pairs < seeds_needed(1),
        Verdict.ARM_BETTER: differs & ahead,
        Verdict.OTHER_BETTER: differs,
        Verdict.EQUIVALENT: evidence["p_equivalent_holm"] < SIGNIFICANCE,
    }
    beyond = np.where(pairs < needed, Verdict.TOO_FEW.value, Verdict.UNDECIDED.value)
    return np.select(list(rule.values()), [each.value for each in rule], beyond)
