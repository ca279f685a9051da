"""Learning curves of arms as means over seeds with bands: their points, and the charts of them."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MarginChartContent

from runlab.analysis.comparison import Comparison
from runlab.analysis.figures.learning_curves import has_values, summarize_curve
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
    """All points of an arm: at each of its learning rates, and at the chosen one.

    The steps are optimizer steps, as in the runs' own curves: an integer also in the middle of an
    epoch. A mean is over the runs that have not ended before.
    """
    history, curves = comparison.history, comparison.curves
    arm_history = history[history["arm"] == arm]
    rates = sorted(set(arm_history["learning_rate"]))
    groups = {rate_name(rate): arm_history[arm_history["learning_rate"] == rate] for rate in rates}
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


def rate_name(learning_rate: float) -> str:
    """`lr=0.1`, with as many digits as tell it from any other."""
    short = f"{learning_rate:g}"
    return f"lr={short if float(short) == learning_rate else repr(learning_rate)}"


# The Custom Scalars tab


def make_layout(comparison: Comparison) -> Layout:
    """First the charts at each arm's chosen learning rate, then a category for each curve.

    What is of this sweep alone names it: beside another sweep, TensorBoard makes one layout of two.
    """
    cells, titles = comparison.cells, curve_titles(comparison)
    sweep, chosen = comparison.sweep.name, cells[cells["chosen"]]
    rates = sorted(set(cells["learning_rate"]))
    by_rate = {rate_name(rate): cells[cells["learning_rate"] == rate] for rate in rates}
    categories = [
        _category(title, [_chart(sweep, name, column, name, own) for name, own in by_rate.items()])
        for column, title in titles.items()
    ]
    if titles and not chosen.empty:
        pairs = zip(chosen["arm"], chosen["learning_rate"], strict=True)
        named = ", ".join(f"{arm} {learning_rate:g}" for arm, learning_rate in pairs)
        heading = f"At each arm's chosen learning rate ({sweep}: {named})"
        group = chosen_name(comparison)
        charts = [_chart(sweep, title, key, group, chosen) for key, title in titles.items()]
        categories.insert(0, _category(heading, charts))
    return Layout(category=categories)


def _category(title: str, charts: list[Chart]) -> Category:
    return Category(title=title, chart=charts[::-1])  # TensorBoard shows the last one first


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
