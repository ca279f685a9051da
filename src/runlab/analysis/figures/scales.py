"""Axes for learning rates, and for measures: small errors stay apart, a diverged run stays on."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from runlab.analysis.figures.canvas import as_written
from runlab.analysis.formatting import MINUS
from runlab.measure import Measure

ERROR_TICKS = (0, 5, 10, 20, 50, 100, 200, 300, 500, 1000, 2000, 3000, 5000, 7000, 9000)
"""In units of a value's last digit: 100, 99.95, … 30, 10 where 100 is best and digits are 2."""

EQUAL_STEPS = MaxNLocator(6, steps=[1, 2, 5, 10])
"""Ticks at equal distances: 94, 95, 96 rather than 94.8, 95.4."""

SMALLEST_DECIMAL = 0.001

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scale_learning_rate(axes: Axes, rates: Iterable[float], title: str) -> None:
    """A logarithmic x axis with a tick at each rate that was tried, if they are few.

    0 has its place at the left, a decade before the next rate.
    """
    tried = sorted(set(rates))
    positive = [rate for rate in tried if rate > 0] or [1.0]
    if tried[0] > 0:
        axes.set_xscale("log")
        axes.set_xlim(tried[0] / 1.5, tried[-1] * 1.5)
    else:
        axes.set_xscale("symlog", linthresh=positive[0])
        axes.set_xlim(-positive[0] / 5, positive[-1] * 1.5)
    if len(tried) > 12:
        tried = [*tried[: tried[0] == 0], *logarithmic_ticks(positive[0], positive[-1])]
    _fix_ticks(axes.xaxis, tried)
    axes.set_xlabel(as_written(title))


def scale_measure(axes: Axes, values: Iterable[float], measure: Measure, split: str) -> None:
    """A y axis with its label: by log error where the measure has a best value, else by log value.

    It stays linear where there is no best value and some value is negative. Values that are not
    finite are left out.
    """
    known = [value for value in values if math.isfinite(value)]
    if measure.best is None:
        scale_positive(axes, known)
        axes.set_ylabel(as_written(measure.axis(split)))
    else:
        ErrorScale(measure).apply(axes, known)
        axes.set_ylabel(f"{as_written(measure.axis(split))}\n(spaced by log error)")


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


def goodness(values: ArrayLike, measure: Measure) -> NDArray[np.float64]:
    """The values spaced as on the measure's axis by error, turned so that larger is better."""
    spaced = np.asarray(values, dtype=float)
    if measure.best is not None:
        spaced = ErrorScale(measure).position(values)
    return spaced if measure.higher_is_better else -spaced


class ErrorScale:
    """Spaces a measure's values by the logarithm of their error, the distance from the best one.

    A logarithm has no place for an error of 0. So one unit of a value's last digit is added to each
    error, and the axis may go on a little beyond the best value.
    """

    def __init__(self, measure: Measure) -> None:
        if measure.best is None:
            raise ValueError(f"expected a measure with a best value, got {measure.name}")
        self.measure = measure
        self.best = measure.best
        self.unit = 10.0**-measure.digits
        self.sign = 1 if measure.higher_is_better else -1

    def position(self, values: ArrayLike) -> NDArray[np.float64]:
        """Grows with the value: minus log10 of its error, or plus where lower is better."""
        error = self.sign * (self.best + self.sign * self.unit - np.asarray(values, dtype=float))
        return -self.sign * np.log10(np.maximum(error, self.unit / 10))

    def value(self, positions: ArrayLike) -> NDArray[np.float64]:
        """The inverse of `position`."""
        error = 10 ** (-self.sign * np.asarray(positions, dtype=float))
        return self.best + self.sign * self.unit - self.sign * error

    def apply(self, axes: Axes, values: Sequence[float]) -> None:
        axes.set_yscale("function", functions=(self.position, self.value))
        bottom, top = self.limits(values)
        axes.set_ylim(bottom, top)
        _fix_ticks(axes.yaxis, self.ticks(bottom, top))

    def limits(self, values: Sequence[float]) -> tuple[float, float]:
        """Around the values; where none is known, around a poor and a fair one."""
        shown = self.position(values or [self._at_error(10_000), self._at_error(1_000)])
        low, high = float(shown.min()), float(shown.max())
        margin = 0.06 * (high - low) or 0.1
        bottom, top = self.value([low - margin, high + margin]).tolist()
        if self.measure.proportion and self.measure.higher_is_better:
            bottom = max(bottom, 0)
        elif self.measure.proportion:
            top = min(top, self.measure.scale)
        return bottom, top

    def ticks(self, bottom: float, top: float) -> list[float]:
        """At round errors; at equal distances where the axis has too few of these."""
        ends = (self.sign * (self.best - end) / self.unit for end in (bottom, top))
        smallest, largest = sorted(ends)
        errors: Iterable[float] = ERROR_TICKS
        if largest > 1.5 * ERROR_TICKS[-1]:
            errors = logarithmic_ticks(max(smallest, 1), largest)
        ticks = _between(sorted(map(self._at_error, errors)), bottom, top)
        if len(ticks) < 4:
            equal = _between(EQUAL_STEPS.tick_values(bottom, top), bottom, top)
            ticks = [tick for tick in equal if self.sign * (self.best - tick) >= 0]
        return ticks

    def _at_error(self, units: float) -> float:
        return round(self.best - self.sign * units * self.unit, self.measure.digits)


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """1-2-5 where that gives 3 to 8 ticks, else round numbers or powers of ten."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = _between([factor * 10.0**e for e in exponents for factor in (1, 2, 5)], low, high)
    if len(steps) < 3:
        return _between(EQUAL_STEPS.tick_values(low, high), low, high)
    if len(steps) <= 8:
        return steps
    return _between([10.0**e for e in exponents[:: math.ceil(len(exponents) / 8)]], low, high)


def tick_labels(ticks: Iterable[float]) -> dict[float, str]:
    """One notation for an axis: `0.001` stands beside no `10⁻⁵`."""
    shown = list(ticks)
    smallest = min((abs(tick) for tick in shown if tick != 0), default=1.0)
    least = 1.0 if smallest < SMALLEST_DECIMAL else SMALLEST_DECIMAL
    return {tick: tick_label(tick, least) for tick in shown}


def tick_label(value: float, least: float = SMALLEST_DECIMAL) -> str:
    """`0.05` or, below `least`, which would have too many zeros, `5·10⁻⁷`."""
    if value == 0 or abs(value) >= least:
        return f"{value:g}".replace("-", MINUS)
    mantissa, exponent = f"{value:.1e}".replace(".0e", "e").split("e")
    power = f"10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    return power if mantissa == "1" else f"{mantissa}·{power}"


def _between(ticks: Iterable[float], low: float, high: float) -> list[float]:
    return [float(tick) for tick in ticks if low <= tick <= high]


def _fix_ticks(axis: Axis, ticks: list[float]) -> None:
    axis.set_major_locator(FixedLocator(ticks))
    labels = tick_labels(ticks)
    axis.set_major_formatter(FuncFormatter(lambda tick, _: labels.get(tick, tick_label(tick))))
    axis.set_minor_locator(NullLocator())
