"""Axes for learning rates, and for measures: small errors stay apart, a diverged run stays on."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from runlab.analysis.measure import ACCURACY, Measure
from runlab.analysis.wording import MINUS

SMALLEST_ERROR = 0.01
"""Percent; an accuracy of 100% is drawn here, as the scale has no place for no error at all."""

TICKS = (10, 30, 50, 70, 80, 90, 95, 97, 98, 99, 99.5, 99.8, 99.9, 99.95, 100)
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scale_learning_rate(axes: Axes, rates: Iterable[float]) -> None:
    tried = sorted(set(rates))
    axes.set_xscale("log")
    axes.set_xlim(tried[0] / 1.5, tried[-1] * 1.5)
    few = len(tried) <= 12
    _fix_ticks(axes.xaxis, tried if few else logarithmic_ticks(tried[0], tried[-1]))
    axes.set_xlabel("learning rate")


def scale_measure(axes: Axes, values: Iterable[float], measure: Measure, split: str) -> None:
    """Accuracy by the logarithm of its error, another measure by its own where it is positive."""
    known = [value for value in values if math.isfinite(value)]
    if measure == ACCURACY:
        _scale_accuracy(axes, min(known, default=0), max(known, default=90))
        axes.set_ylabel(f"{measure.axis(split)}\n(spaced by log error)")
    else:
        scale_positive(axes, known)
        axes.set_ylabel(measure.axis(split))


def scale_positive(axes: Axes, values: Iterable[float]) -> None:
    """A logarithmic y axis around the positive values; nothing is done where one is negative."""
    known = [value for value in values if math.isfinite(value)]
    positive = [value for value in known if value > 0]
    if not positive or min(known) < 0:
        return
    room = (max(positive) / min(positive)) ** 0.06 * 1.02
    low, high = min(positive) / room, max(positive) * room
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(low, high)
    _fix_ticks(axes.yaxis, logarithmic_ticks(low, high))


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """1-2-5 where that gives 3 to 8 ticks, else round numbers or powers of ten."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = _between([factor * 10.0**e for e in exponents for factor in (1, 2, 5)], low, high)
    if len(steps) < 3:
        return _between(MaxNLocator(5).tick_values(low, high), low, high)
    if len(steps) <= 8:
        return steps
    return _between([10.0**e for e in exponents[:: math.ceil(len(exponents) / 8)]], low, high)


def plain(value: float) -> str:
    """`0.05` or, where that has too many zeros, `5·10⁻⁷`."""
    if value == 0 or abs(value) >= 0.001:
        return f"{value:g}".replace("-", MINUS)
    mantissa, exponent = f"{value:.1e}".replace(".0e", "e").split("e")
    power = f"10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    return power if mantissa == "1" else f"{mantissa}·{power}"


def height(accuracy: Any) -> Any:
    """Where the scale puts an accuracy in percent: minus the logarithm of its error.

    A hundredth of a percent is added to each error, so that 100% has a place, and some air above.
    """
    error = 100 + SMALLEST_ERROR - np.asarray(accuracy, dtype=float)
    return -np.log10(np.maximum(error, SMALLEST_ERROR / 10))


def accuracy_at(height: Any) -> Any:
    return 100 + SMALLEST_ERROR - 10 ** -np.asarray(height, dtype=float)


def _scale_accuracy(axes: Axes, lowest: float, highest: float) -> None:
    axes.set_yscale("function", functions=(height, accuracy_at))
    low, high = float(height(lowest)), float(height(highest))
    margin = 0.06 * (high - low) or 0.1
    bottom, top = max(float(accuracy_at(low - margin)), 0), float(accuracy_at(high + margin))
    axes.set_ylim(bottom, top)
    ticks = _between(TICKS, bottom, top)
    if len(ticks) < 4:
        ticks = _between(MaxNLocator(6).tick_values(bottom, top), bottom, min(top, 100))
    _fix_ticks(axes.yaxis, ticks)


def _between(ticks: Iterable[float], low: float, high: float) -> list[float]:
    return [float(tick) for tick in ticks if low <= tick <= high]


def _fix_ticks(axis: Axis, ticks: list[float]) -> None:
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda tick, _: plain(tick)))
    axis.set_minor_locator(NullLocator())
