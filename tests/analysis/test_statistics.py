import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from runlab.analysis import statistics
from runlab.analysis.learning_rates import good_range, next_value
from runlab.analysis.statistics import (
    binomial_half_width,
    count_far_off,
    equivalence_p_values,
    holm,
    is_exact,
    mean_interval,
    permutation_p_values,
    seeds_for_equivalence,
    seeds_needed,
    superiority,
    two_way_interval,
)
from runlab.measure import Measure
from tests.analysis.synthetic import ACCURACY, NLL


def permutation_p_value(differences: np.ndarray) -> float:
    return float(permutation_p_values(differences[None])[0])


def equivalence_p_value(differences: np.ndarray, margin: float) -> float:
    return float(equivalence_p_values(differences[None], margin)[0])


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


@pytest.mark.parametrize(
    ("values", "far"),
    [
        ([97.1, 97.3, 97.2, 97.0, 97.2, 19.1], 1),
        ([97.1, 10.0, 97.2, 97.0, 97.2, 19.1, 97.0], 2),
        ([9.8, 9.8, 9.8, 9.8, 97.0, 97.1], 2),  # which group is the better one says its mean
        ([97.1, 97.3, 97.2, 97.0, 97.2, 96.6], 0),  # no ten times the range of the others
        ([97.0, 97.0, 97.0, 97.0, 97.0, 96.6], 0),  # not more than what does not matter
        ([97.1, 97.3, 97.2, 97.0, 19.1], 0),
        ([97.1, 97.3, 97.2, 97.0, 97.2, math.nan], 0),
        ([], 0),
    ],
)
def test_another_outcome_is_told_from_another_draw(values: list[float], far: int) -> None:
    assert count_far_off(np.array(values), 0.5) == far


def test_normal_values_are_hardly_ever_two_outcomes() -> None:
    random = np.random.default_rng(0)
    assert sum(count_far_off(random.normal(size=10), 0.0) > 0 for _ in range(1_000)) == 0


@pytest.mark.parametrize("pairs", [2, 7, 13])
def test_p_of_each_row_is_that_of_scipy(pairs: int) -> None:
    """Of whole numbers, whose sums are exact."""
    rows = np.random.default_rng(0).integers(-5, 9, (20, pairs)).astype(float)
    test = partial(stats.permutation_test, permutation_type="samples", vectorized=True)
    known = [test((row,), np.sum, n_resamples=9_999).pvalue for row in rows]
    assert permutation_p_values(rows).tolist() == pytest.approx(known, abs=1e-12)


def test_a_sampled_p_is_near_that_of_scipy() -> None:
    differences = np.random.default_rng(0).normal(0.4, 1, 20)
    known = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=99_999, rng=1
    )
    assert permutation_p_value(differences) == pytest.approx(known.pvalue, abs=0.01)


def test_holm_corrects_each_row_by_itself() -> None:
    rows = np.array([[0.04, math.nan, 0.01], [0.01, 0.03, 0.04]])
    together = holm(rows)
    assert np.array_equal(together[0], holm(rows[0]), equal_nan=True)
    assert together[1].tolist() == pytest.approx([0.03, 0.06, 0.06])


def test_holm_by_hand() -> None:
    # sorted 0.01, 0.03, 0.04: 3 * 0.01, 2 * 0.03, then max(0.06, 0.04)
    assert holm(np.array([0.04, 0.01, 0.03])).tolist() == pytest.approx([0.06, 0.03, 0.06])


def test_holm_leaves_out_what_was_not_tested() -> None:
    corrected = holm(np.array([0.04, math.nan, 0.6]))
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


def text_of(means: pd.Series, chosen: float, measure: Measure = ACCURACY) -> str:
    good = good_range(means, chosen, measure)
    assert good is not None
    return good.text


def test_good_range_is_unbroken_and_says_where_the_grid_ends_it() -> None:
    rates = [0.001, 0.01, 0.02, 0.05, 0.1, 1.0]
    to_the_end = pd.Series([97.9, 90.0, 97.5, 98.0, 97.6, 97.6], index=rates)
    assert text_of(to_the_end, 0.05) == "0.02 to 1 (at least 1.7 decades)"
    within = pd.Series([97.9, 90.0, 97.5, 98.0, 97.6, 97.4], index=rates)
    assert text_of(within, 0.05) == "0.02 to 0.1 (0.7 decades)"


def test_no_value_continues_a_grid_below_0_and_a_range_from_0_has_no_decades() -> None:
    assert next_value([0.0, 0.01, 0.1], above=False) is None
    assert next_value([0.0, 0.01, 0.1], above=True) == 1
    assert next_value([0.0], above=True) is None
    good = good_range(pd.Series([98.0, 97.9, 90], index=[0.0, 0.01, 0.1]), 0.0, ACCURACY)
    assert good is not None
    assert good.text == "0 to 0.01"
    assert np.isnan(good.decades)


def test_good_range_of_one_rate() -> None:
    assert text_of(pd.Series([98.0], index=[0.1]), 0.1) == "0.1 only"


def test_good_range_where_lower_is_better_and_where_no_tolerance_is_declared() -> None:
    means = pd.Series([0.9, 0.52, 0.5, 0.54, 0.6], index=[0.01, 0.02, 0.05, 0.1, 0.2])
    rmse = Measure("rmse", "RMSE", tolerance=0.05)
    assert text_of(means, 0.05, rmse) == "0.02 to 0.1 (0.7 decades)"
    assert good_range(means, 0.05, NLL) is None


def test_equivalence_by_hand() -> None:
    # mean 0.1, sd 0.1, n = 4: standard error 0.05, t = (0.2 - 0.1) / 0.05 = 2 on 3 degrees
    differences = np.array([0.0, 0.1, 0.1, 0.2])
    differences = 0.1 + (differences - 0.1) / differences.std(ddof=1) * 0.1
    assert equivalence_p_value(differences, 0.2) == pytest.approx(0.069663, abs=1e-6)
    assert equivalence_p_value(-differences, 0.2) == pytest.approx(0.069663, abs=1e-6)


@pytest.mark.parametrize(("mean", "p"), [(0.1, 0.0), (0.3, 1.0)])
def test_equivalence_without_spread_is_certain(mean: float, p: float) -> None:
    assert equivalence_p_value(np.full(5, mean), 0.2) == p


def test_equivalence_is_unknown_below_two_values() -> None:
    assert math.isnan(equivalence_p_value(np.array([0.1]), 0.2))
    assert math.isnan(equivalence_p_value(np.array([0.1, np.nan]), 0.2))


def test_equivalence_agrees_with_the_90_percent_interval() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        differences = random.normal(0.1, 0.1, 6)
        low, high = mean_interval(differences, 0.90)
        assert (equivalence_p_value(differences, 0.2) < 0.05) == (low > -0.2 and high < 0.2)


def test_superiority_counts_ties_half() -> None:
    # Wilson for 8 of 10 with z² = 3.841459: (0.8 + 0.192073) / 1.384146 ± 0.226590
    share, low, high = superiority(np.array([1.0] * 7 + [0.0] * 2 + [-1.0]))
    assert share == 0.8
    assert (low, high) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    assert superiority(np.ones(10))[2] == 1.0


def test_two_way_interval_with_seeds_alone_is_students() -> None:
    differences = np.repeat(np.array([[1], [0], [1], [0]], dtype=np.int8), 50, axis=1)
    expected = mean_interval(differences.mean(axis=1).astype(float))
    assert two_way_interval(differences) == pytest.approx(expected)


def test_two_way_interval_without_any_difference_is_a_point() -> None:
    assert two_way_interval(np.zeros((3, 10), dtype=np.int8)) == (0.0, 0.0)
    assert math.isnan(two_way_interval(np.zeros((1, 10), dtype=np.int8))[0])


def test_seeds_for_equivalence_have_the_power_that_they_promise() -> None:
    seeds = seeds_for_equivalence(margin=0.2, sd=0.3, comparisons=3)
    assert seeds is not None
    random = np.random.default_rng(0)
    shown = [
        equivalence_p_value(random.normal(0, 0.3, seeds), 0.2) < 0.05 / 3 for _ in range(1_000)
    ]
    assert 0.75 <= np.mean(shown) <= 0.85
    assert seeds_for_equivalence(1e-9, 1.0, 1) is None


def test_flips_drawn_in_parts_are_those_drawn_at_once() -> None:
    differences = np.random.default_rng(1).normal(size=(3, 2_500))
    at_once = statistics._flipped_sums(differences)
    assert statistics._flipped_sums_of_many(differences) == pytest.approx(at_once, abs=1e-9)


def test_a_large_table_of_seeds_and_samples_has_the_interval_of_a_small_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    differences = np.random.default_rng(1).integers(-1, 2, size=(30, 50)).astype(np.int8)
    at_once = two_way_interval(differences)
    monkeypatch.setattr(statistics, "VALUES_AT_ONCE", 100)
    assert two_way_interval(differences) == pytest.approx(at_once, rel=1e-12)
