"""Axes: spaced by log error where a measure has a best value, with few and round ticks."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from runlab.analysis.figures.scales import (
    ErrorScale,
    goodness,
    logarithmic_ticks,
    scale_learning_rate,
    scale_measure,
    tick_label,
)
from runlab.measure import Measure

SHARE = Measure(
    "share", "share", unit="%", scale=100.0, higher_is_better=True, digits=2, best=100.0,
    proportion=True,
)  # fmt: skip
RMSE = Measure("rmse", "RMSE", best=0.0)
NLL = Measure("nll", "NLL")
R2 = Measure("r2", "R²", higher_is_better=True, best=1.0)


@pytest.mark.parametrize("measure", [SHARE, RMSE, R2], ids=lambda measure: measure.name)
def test_an_axis_by_error_has_equal_steps_for_equal_ratios_of_error(measure: Measure) -> None:
    scale = ErrorScale(measure)
    sign = 1 if measure.higher_is_better else -1
    values = scale.best - sign * np.array([0.2, 0.02, 0.002])
    assert scale.value(scale.position(values)) == pytest.approx(values)
    rising = np.sort(values)
    assert (np.diff(scale.position(rising)) > 0).all()
    assert (np.diff(goodness(values, measure)) > 0).all()  # the nearer to the best, the larger


def test_the_best_value_has_a_place_and_what_lies_beyond_it_too() -> None:
    scale = ErrorScale(SHARE)
    assert scale.position([90.0, 99.0, 99.9, 100.0, 100.02]) == pytest.approx(
        [-1, 0, 1, 2, 3], abs=0.05
    )


def test_goodness_without_a_best_value_is_the_value_itself() -> None:
    assert goodness([0.1, 0.2], NLL).tolist() == [-0.1, -0.2]
    assert goodness([0.1, 0.2], replace(NLL, higher_is_better=True)).tolist() == [0.1, 0.2]


def test_a_scale_by_error_needs_a_best_value() -> None:
    with pytest.raises(ValueError, match="expected a measure with a best value, got nll"):
        ErrorScale(NLL)


@pytest.mark.parametrize(
    ("measure", "values", "ticks"),
    [
        (SHARE, [9.8, 99.2], ["10", "30", "50", "70", "80", "90", "95", "97", "98", "99"]),
        (SHARE, [99.7, 100.0], ["99.8", "99.9", "99.95", "100"]),
        (SHARE, [96.2, 97.7], ["96.5", "97", "97.5"]),
        (R2, [0.6, 0.99], ["0.7", "0.8", "0.9", "0.95", "0.97", "0.98", "0.99"]),
        (R2, [-3.0, 0.9], ["−1", "0", "0.5", "0.8", "0.9"]),
        (RMSE, [0.02, 0.3], ["0.02", "0.03", "0.05", "0.1", "0.2", "0.3"]),
        (RMSE, [1.0, 30.0], ["1", "2", "5", "10", "20"]),
        (NLL, [0.05, 0.5], ["0.05", "0.1", "0.2", "0.5"]),
    ],
)
def test_ticks_of_a_measure_are_few_and_round(
    measure: Measure, values: list[float], ticks: list[str]
) -> None:
    axes = Figure().subplots()
    scale_measure(axes, values, measure, "validation")
    assert [tick_label(tick) for tick in axes.get_yticks()] == ticks


@pytest.mark.parametrize(
    ("measure", "ends"),
    [(SHARE, (0, 0)), (replace(SHARE, best=0.0, higher_is_better=False), (1, 100))],
)
def test_the_axis_of_a_share_of_samples_ends_at_none_or_all_of_them(
    measure: Measure, ends: tuple[int, float]
) -> None:
    limits = ErrorScale(measure).limits([0.5, 50.0, 99.9])
    assert limits[ends[0]] == ends[1]


def test_a_rate_of_0_has_a_place_a_decade_left_of_the_next() -> None:
    axes = Figure().subplots()
    scale_learning_rate(axes, [0.1, 0.0, 0.01], "optimizer.weight_decay")
    assert axes.get_xticks().tolist() == [0, 0.01, 0.1]
    zero, low, high = (axes.transData.transform((x, 0.5))[0] for x in (0, 0.01, 0.1))
    assert axes.bbox.x0 < zero < low < high < axes.bbox.x1
    assert low - zero == pytest.approx(high - low, rel=0.15)


def test_logarithmic_ticks_are_few_and_round() -> None:
    assert logarithmic_ticks(0.01, 0.5) == pytest.approx([0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
    assert logarithmic_ticks(1e-3, 1e2) == pytest.approx([1e-3, 1e-2, 1e-1, 1, 10, 100])
    assert logarithmic_ticks(0.9, 1.1) == pytest.approx([0.9, 0.95, 1.0, 1.05, 1.1])


def test_numbers_on_axes_are_short() -> None:
    assert list(map(tick_label, (0.05, -10.0, 0.0, 5e-7, 1e-9))) == [
        "0.05",
        "−10",
        "0",
        "5·10⁻⁷",
        "10⁻⁹",
    ]
