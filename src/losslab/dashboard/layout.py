"""The Custom Scalars tab: charts of means and bands, the arms over each other in each."""

import pandas as pd
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MarginChartContent

from losslab.comparison import Comparison
from losslab.dashboard.bands import CHOSEN, metrics, rate_name, tags


def layout_of(comparison: Comparison) -> Layout:
    """First the charts at each arm's chosen learning rate, then a category for each metric."""
    cells, kept = comparison.cells, metrics(comparison)
    chosen = cells[cells["chosen"]]
    if not kept:
        return Layout()
    rates = ", ".join(f"{arm} {rate:g}" for arm, rate in _pairs(chosen))
    first = Category(
        title=f"At each arm's chosen learning rate: {rates}",
        chart=[_chart(title, column, CHOSEN, chosen) for column, title in kept.items()],
    )
    others = [
        Category(
            title=title,
            chart=[
                _chart(rate_name(rate), column, rate_name(rate), own)
                for rate, own in cells.groupby("learning_rate")
            ],
        )
        for column, title in kept.items()
    ]
    return Layout(category=[first, *others] if rates else others)


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


def _pairs(chosen: pd.DataFrame) -> list[tuple[str, float]]:
    return list(zip(chosen["arm"], chosen["learning_rate"], strict=True))
