"""Reasoning on a grid of learning rates: its name, its next value, how wide the good range is.

It is one of whatever key `comparison.rate` names, which need not be a learning rate.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from runlab.analysis.formatting import ABSENT
from runlab.config.axes import LEARNING_RATES
from runlab.measure import Measure

FAMILIES = ((1, 3), (1, 2, 5))

NO_RATE = -1.0
"""In place of the learning rate of a run that has none. No rate is below 0, and −1 equals −1: such
runs of an arm are one cell, as those at any other rate are."""


@dataclass(frozen=True)
class Rate:
    """What is tuned for each arm, in words."""

    key: str

    @property
    def short(self) -> str:
        """`lr` of `optimizer.lr`."""
        return self.key.rpartition(".")[2]

    @property
    def is_learning_rate(self) -> bool:
        return self.short in LEARNING_RATES

    @property
    def title(self) -> str:
        """`learning rate`, or the key."""
        return "learning rate" if self.is_learning_rate else self.key

    @property
    def plural(self) -> str:
        return "learning rates" if self.is_learning_rate else f"values of {self.key}"


def find_rate(values: Iterable[float], key: str | None) -> Rate | None:
    """None where no run has any."""
    return None if key is None or all(value == NO_RATE for value in values) else Rate(key)


def with_rate(rate: Rate | None, text: str) -> str:
    """Part of a sentence, with `{title}` or `{plural}` of what is tuned; empty where nothing is."""
    return "" if rate is None else text.format(title=rate.title, plural=rate.plural)


def rate_text(value: float) -> str:
    """`0.1`; a dash where there is none."""
    return ABSENT if value == NO_RATE else f"{value:g}"


def next_value(learning_rates: Sequence[float], above: bool) -> float | None:
    """The value that continues the grid: 1-3-10, 1-2-5, or else by the ratio at that end.

    That of 10 at most: a gap is not taken for a step. None below 0, and above 0 where nothing else
    was tried: no step leads there.
    """
    tried = sorted(set(learning_rates) - {0.0})
    if not tried or (not above and 0 in learning_rates):
        return None
    mantissas = {_decimal(value)[0] for value in tried}
    for family in FAMILIES:
        if mantissas <= set(family) and (len(mantissas) > 1 or len(tried) == 1):
            return _step(tried[-1] if above else tried[0], family, above)
    if len(tried) == 1:
        return _rounded(tried[0] * (3 if above else 1 / 3))
    end, before = tried[-2:][::-1] if above else tried[:2]
    beyond = end * min(max(end / before, 0.1), 10)
    is_whole = all(float(value).is_integer() for value in (*tried, beyond))
    return beyond if is_whole else _rounded(beyond)  # 256 follows 64 and 128


def _step(value: float, family: tuple[int, ...], above: bool) -> float:
    mantissa, exponent = _decimal(value)
    position = family.index(int(mantissa)) + (1 if above else -1)
    exponent += position // len(family)
    return float(f"{family[position % len(family)]}e{exponent}")


def _decimal(value: float) -> tuple[float, int]:
    mantissa, exponent = f"{value:.6e}".split("e")
    return float(mantissa), int(exponent)


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


@dataclass(frozen=True)
class GoodRange:
    """The unbroken stretch around the chosen learning rate in which others are about as good."""

    lowest: float
    highest: float
    open_below: bool
    open_above: bool

    @property
    def decades(self) -> float:
        """NaN from 0 on."""
        return math.log10(self.highest / self.lowest) if self.lowest > 0 else math.nan

    @property
    def text(self) -> str:
        """As in `0.02 to 0.5 (1.4 decades)`; `at least` where the grid ends before it does."""
        if self.lowest == self.highest:
            return f"{self.lowest:g} only"
        if self.lowest == 0:
            return f"0 to {'at least ' if self.open_above else ''}{self.highest:g}"
        least = "at least " if self.open_below or self.open_above else ""
        return f"{self.lowest:g} to {self.highest:g} ({least}{self.decades:.1f} decades)"


def good_range(means: pd.Series, chosen: float, measure: Measure) -> GoodRange | None:
    """Around the learning rate `chosen`, those whose mean is within the measure's tolerance of its.

    `means` are on validation, indexed by learning rate. None where no tolerance is declared.
    """
    if measure.tolerance is None:
        return None
    means = means.sort_index()
    tried = [float(value) for value in means.index]
    if measure.higher_is_better:
        good = (means >= means[chosen] - measure.tolerance).tolist()
    else:
        good = (means <= means[chosen] + measure.tolerance).tolist()
    low = high = tried.index(chosen)
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(tried) - 1 and good[high + 1]:
        high += 1
    return GoodRange(tried[low], tried[high], low == 0, high == len(tried) - 1)
