"""The Custom Scalars tab: charts of means and bands, the arms over each other in each."""

import pandas as pd
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MarginChartContent

from runlab.analysis import Comparison
from runlab.extras.dashboard.bands import chosen_name, metrics, rate_name, tags


def layout_of(comparison: Comparison) -> Layout:
    """First the charts at each arm's chosen learning rate, then a category for each metric.

    What is of this sweep alone names it: beside another sweep, TensorBoard makes one layout of two.
    """
    cells, kept = comparison.cells, metrics(comparison)
    chosen = cells[cells["chosen"]]
    rates = sorted(set(cells["learning_rate"]))
    by_rate = {rate_name(rate): cells[cells["learning_rate"] == rate] for rate in rates}
    sweep = comparison.sweep.name
    categories = [
        _category(title, [_chart(sweep, name, column, name, own) for name, own in by_rate.items()])
        for column, title in kept.items()
    ]
    if kept and not chosen.empty:
        pairs = zip(chosen["arm"], chosen["learning_rate"], strict=True)
        named = ", ".join(f"{arm} {rate:g}" for arm, rate in pairs)
        title = f"At each arm's chosen learning rate ({sweep}: {named})"
        place = chosen_name(comparison)
        charts = [_chart(sweep, name, column, place, chosen) for column, name in kept.items()]
        categories.insert(0, _category(title, charts))
    return Layout(category=categories)


def _category(title: str, charts: list[Chart]) -> Category:
    return Category(title=title, chart=charts[::-1])  # TensorBoard shows the last one first


def _chart(sweep: str, title: str, column: str, place: str, cells: pd.DataFrame) -> Chart:
    mean, lower, upper = tags(column, place)
    series = MarginChartContent.Series(value=mean, lower=lower, upper=upper)
    diverged = _diverged(cells)
    title += f" ({sweep}: {diverged})" if diverged else ""
    return Chart(title=title, margin=MarginChartContent(series=[series]))


def _diverged(cells: pd.DataFrame) -> str:
    """`mse 6 of 10 diverged`; empty where none did."""
    arms = cells[cells["diverged"] > 0]
    counts = zip(arms["arm"], arms["diverged"], arms["n"], strict=True)
    return ", ".join(f"{arm} {diverged} of {n} diverged" for arm, diverged, n in counts)
