"""Learning curves of arms as means over seeds with bands: their points, and the charts of them."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MarginChartContent

from runlab.analysis.comparison import Comparison
from runlab.analysis.figures.learning_curves import has_values, summarize_curve
from runlab.analysis.learning_rates import NO_RATE, rate_text, with_rate
from runlab.analysis.section import load_sections
from runlab.runs.record import UNSOUND
from runlab.text import file_name

TAG_COLUMNS = {"mean": "mean", "lower": "low", "upper": "high"}
"""Of a band: the last part of a tag, and the column of its values in `summarize_curve`."""


class Point(NamedTuple):
    tag: str
    value: float
    step: int


def curve_titles(comparison: Comparison) -> dict[str, str]:
    """Titles of the curves to draw, by the column of the history; those that the runs kept.

    First the primary measure on validation and the next one whose unit no loss changes, then what
    the comparison's sections name.
    """
    measures = [comparison.primary or comparison.measure, *comparison.other_measures[:1]]
    titles = {f"val/{measure.name}": measure.axis("Validation") for measure in measures}
    for section in load_sections(comparison.sections)[0]:
        titles |= section.curves
    return {key: title for key, title in titles.items() if has_values(comparison.history, key)}


# A group is all runs of an arm at one learning rate, or those of its chosen cell


def arm_points(comparison: Comparison, arm: str) -> Iterator[Point]:
    """All points of an arm: at each of its learning rates, if it has any, and at the chosen one.

    The steps are optimizer steps, as in the runs' own curves: an integer also in the middle of an
    epoch. A mean is over the runs that have not ended before.
    """
    history, curves = comparison.history, comparison.curves
    arm_history = history[history["arm"] == arm]
    groups = {
        name: arm_history[arm_history["learning_rate"] == value]
        for name, value in named_rates(comparison, arm_history).items()
    }
    groups[chosen_name(comparison)] = curves[curves["arm"] == arm]
    for column in curve_titles(comparison):
        for group, runs in groups.items():
            yield from _band_points(runs, column, group)


def _band_points(runs: pd.DataFrame, column: str, group: str) -> Iterator[Point]:
    table = summarize_curve(runs, column)
    steps = runs.groupby(runs["epoch"].round(6))["step"].max()[table.index]
    for tag, values in zip(band_tags(column, group), TAG_COLUMNS.values(), strict=True):
        for value, step in zip(table[values], steps, strict=True):
            yield Point(tag, float(value), int(step))


def band_tags(column: str, group: str) -> tuple[str, ...]:
    """Of the mean, the lower and the upper end: `val_rmse/lr=0.1/mean`."""
    return tuple(f"{column.replace('/', '_')}/{group}/{end}" for end in TAG_COLUMNS)


def chosen_name(comparison: Comparison) -> str:
    """`chosen in first`: beside another sweep, a chart also draws what has its tags there."""
    return file_name(f"chosen in {comparison.sweep.name}", keep=" ")


def named_rates(comparison: Comparison, table: pd.DataFrame) -> dict[str, float]:
    """The learning rates in a table by their names, the smallest first."""
    key = "" if comparison.rate is None else comparison.rate.short
    return {
        rate_name(key, value): value for value in sorted(set(table["learning_rate"]) - {NO_RATE})
    }


def rate_name(key: str, value: float) -> str:
    """`lr=0.1`, with as many digits as tell it from any other."""
    short = f"{value:g}"
    return f"{file_name(key)}={short if float(short) == value else repr(value)}"


# The Custom Scalars tab


def make_layout(comparison: Comparison) -> Layout:
    """First the charts at each arm's chosen learning rate, then each curve at all of them.

    What is of this sweep alone names it: beside another sweep, TensorBoard makes one layout of two.
    It asks for every run in every chart that is open, so only the first charts are.
    """
    cells, titles = comparison.cells, curve_titles(comparison)
    sweep, chosen = comparison.sweep.name, cells[cells["chosen"]]
    rate = comparison.rate
    by_rate = {
        name: cells[cells["learning_rate"] == value]
        for name, value in named_rates(comparison, cells).items()
    }
    categories = [
        _category(
            title + with_rate(rate, ", at each {title}"),
            [_chart(sweep, name, column, name, own) for name, own in by_rate.items()],
            closed=True,
        )
        for column, title in titles.items()
        if by_rate
    ]
    if titles and not chosen.empty:
        pairs = zip(chosen["arm"], chosen["learning_rate"], strict=True)
        named = ", ".join(f"{arm} {rate_text(value)}" for arm, value in pairs)
        told = with_rate(rate, "At each arm's chosen {title} (")
        heading = f"{told}{sweep}: {named})" if told else f"Each arm ({sweep})"
        group = chosen_name(comparison)
        charts = [_chart(sweep, title, key, group, chosen) for key, title in titles.items()]
        categories.insert(0, _category(heading, charts))
    return Layout(category=categories)


def _category(title: str, charts: list[Chart], closed: bool = False) -> Category:
    return Category(
        title=title, chart=charts[::-1], closed=closed
    )  # TensorBoard shows the last one first


def _chart(sweep: str, title: str, column: str, group: str, cells: pd.DataFrame) -> Chart:
    mean, lower, upper = band_tags(column, group)
    series = MarginChartContent.Series(value=mean, lower=lower, upper=upper)
    ends = ", ".join(_count(cells, end) for end in UNSOUND if cells[end].any())
    title += f" ({sweep}: {ends})" if ends else ""
    return Chart(title=title, margin=MarginChartContent(series=[series]))


def _count(cells: pd.DataFrame, end: str) -> str:
    """`mse 6 of 10 diverged`"""
    rows = cells[cells[end] > 0]
    counts = zip(rows["arm"], rows[end], rows["n"], strict=True)
    return ", ".join(f"{arm} {count} of {n} {end}" for arm, count, n in counts)
