"""The Custom Scalars tab: charts of means and bands, the arms over each other in each."""

import pandas as pd
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MarginChartContent

from losslab.comparison import Comparison
from losslab.dashboard.bands import CHOSEN, metrics, rate_name, tags


def layout_of(comparison: Comparison) -> Layout:
    """First the charts at each arm's chosen learning rate, then a category for each metric."""
    cells, kept = comparison.cells, metrics(comparison)
    chosen = cells[cells["chosen"]]
    rates = sorted(set(cells["learning_rate"]))
    by_rate = {rate_name(rate): cells[cells["learning_rate"] == rate] for rate in rates}
    categories = [
        _category(title, [_chart(name, column, name, own) for name, own in by_rate.items()])
        for column, title in kept.items()
    ]
    if kept and not chosen.empty:
        pairs = zip(chosen["arm"], chosen["learning_rate"], strict=True)
        named = ", ".join(f"{arm} {rate:g}" for arm, rate in pairs)
        charts = [_chart(title, column, CHOSEN, chosen) for column, title in kept.items()]
        categories.insert(0, _category(f"At each arm's chosen learning rate: {named}", charts))
    return Layout(category=categories)


def _category(title: str, charts: list[Chart]) -> Category:
    return Category(title=title, chart=charts[::-1])  # TensorBoard shows the last one first


def _chart(title: str, column: str, place: str, cells: pd.DataFrame) -> Chart:
    mean, lower, upper = tags(column, place)
    series = MarginChartContent.Series(value=mean, lower=lower, upper=upper)
    return Chart(title=title + _diverged(cells), margin=MarginChartContent(series=[series]))


def _diverged(cells: pd.DataFrame) -> str:
    """` (diverged: mse 6 of 10)`; empty where none did."""
    counts = [
        f"{cell['arm']} {cell['diverged']} of {cell['n']}"
        for _, cell in cells.iterrows()
        if cell["diverged"]
    ]
    return f" (diverged: {', '.join(counts)})" if counts else ""
