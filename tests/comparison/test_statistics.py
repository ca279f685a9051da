import math

import numpy as np
import pandas as pd
import pytest

from losslab.comparison.grid import good_range, next_value
from losslab.comparison.statistics import (
    binomial_half_width,
    holm,
    is_exact,
    mean_interval,
    permutation_p_value,
    seeds_needed,
)


def test_interval_by_hand() -> None:
    # mean 2, sd 1, t(0.975, 2) = 4.302653: 4.302653 / sqrt(3) = 2.484138
    assert mean_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx(
        (-0.484138, 4.484138), abs=1e-6
    )


@pytest.mark.parametrize("values", [[], [1.0]])
def test_no_interval_below_two_values(values: list[float]) -> None:
    assert all(math.isnan(bound) for bound in mean_interval(np.array(values)))


def test_half_width_of_the_test_set_by_hand() -> None:
    # 1.959964 * sqrt(0.98 * 0.02 / 10000)
    assert binomial_half_width(0.98, 10_000) == pytest.approx(0.002744, abs=1e-6)


@pytest.mark.parametrize(("pairs", "p"), [(5, 0.0625), (6, 0.03125), (10, 0.001953125)])
def test_p_of_differences_that_all_agree(pairs: int, p: float) -> None:
    differences = np.linspace(0.1, 0.2, pairs)
    assert permutation_p_value(differences) == p
    assert permutation_p_value(-differences) == p


def test_p_by_enumeration() -> None:
    # the 8 sums of ±1 ±2 ±4 are ±1, ±3, ±5, ±7: all are as far as 1, four as 5, two as 7
    assert permutation_p_value(np.array([-1.0, -2.0, 4.0])) == 1.0
    assert permutation_p_value(np.array([-1.0, 2.0, 4.0])) == 0.5
    assert permutation_p_value(np.array([1.0, 2.0, 4.0])) == 0.25


def test_p_without_pairs_is_unknown_and_without_a_difference_one() -> None:
    assert math.isnan(permutation_p_value(np.array([])))
    assert math.isnan(permutation_p_value(np.array([0.1, np.nan])))
    assert permutation_p_value(np.array([0.3])) == 1.0
    assert permutation_p_value(np.zeros(6)) == 1.0


def test_beyond_13_pairs_p_is_sampled_the_same_each_time() -> None:
    assert is_exact(13)
    assert not is_exact(14)
    differences = np.random.default_rng(0).normal(0.5, 1, 20)
    assert permutation_p_value(differences) == permutation_p_value(differences)


def test_holm_by_hand() -> None:
    # sorted 0.01, 0.03, 0.04: 3 * 0.01, 2 * 0.03, then max(0.06, 0.04)
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_holm_leaves_out_what_was_not_tested() -> None:
    corrected = holm([0.04, math.nan, 0.6])
    assert corrected[0] == pytest.approx(0.08)
    assert math.isnan(corrected[1])
    assert corrected[2] == 0.6


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 6), (3, 7), (36, 11)])
def test_seeds_needed_reach_significance_and_one_fewer_does_not(
    comparisons: int, seeds: int
) -> None:
    assert seeds_needed(comparisons) == seeds
    assert comparisons * 2 ** (1 - seeds) < 0.05 <= comparisons * 2 ** (2 - seeds)


@pytest.mark.parametrize(
    ("rates", "below", "above"),
    [
        ([0.1, 0.2, 0.5, 1.0], 0.05, 2),
        ([0.01, 0.03, 0.1, 0.3], 0.003, 1),
        ([0.001, 0.01, 0.1], 0.0001, 1),
        ([0.001, 0.00215, 0.00464, 0.01], 0.00047, 0.022),
        ([0.1, 0.2, 0.4], 0.05, 0.8),
        ([0.1], 0.03, 0.3),
        ([0.5], 0.2, 1),
        ([0.4], 0.13, 1.2),
    ],
)
def test_next_value_continues_the_grid(rates: list[float], below: float, above: float) -> None:
    assert next_value(rates, above=False) == pytest.approx(below)
    assert next_value(rates, above=True) == pytest.approx(above)


def test_good_range_is_unbroken_and_says_where_the_grid_ends_it() -> None:
    rates = [0.001, 0.01, 0.02, 0.05, 0.1, 1.0]
    to_the_end = pd.Series([97.9, 90.0, 97.5, 98.0, 97.6, 97.6], index=rates)
    assert good_range(to_the_end, 0.05).text == "0.02 to 1 (at least 1.7 decades)"
    within = pd.Series([97.9, 90.0, 97.5, 98.0, 97.6, 97.4], index=rates)
    assert good_range(within, 0.05).text == "0.02 to 0.1 (0.7 decades)"


def test_good_range_of_one_rate() -> None:
    assert good_range(pd.Series([98.0], index=[0.1]), 0.1).text == "0.1 only"
