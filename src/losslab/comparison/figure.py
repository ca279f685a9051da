"""The learning-rate sensitivity figure."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from losslab.comparison.arms import ordered
from losslab.comparison.palette import Style, styles

SMALLEST_ERROR = 0.01
"""Percent; an accuracy of 100% is drawn here, as the scale has no place for no error at all."""

TICKS = (10, 30, 50, 70, 80, 90, 95, 97, 98, 99, 99.5, 99.8, 99.9, 99.95)
GREY = "#555555"


def sensitivity_figure(cells: pd.DataFrame) -> Figure:
    """Validation accuracy against learning rate: a line and a ±1 sd band an arm, its choice ringed.

    Accuracy is spaced by the logarithm of its error, so that 97 and 98% stay apart while a diverged
    cell is still on the page. A strip below counts diverged runs.
    """
    arms = ordered(cells["arm"])
    diverging = [arm for arm in arms if cells.loc[cells["arm"] == arm, "diverged"].any()]
    strips = [0.1 + 0.17 * len(diverging)] if diverging else []
    figure = Figure(figsize=(7.2, 4.4 + sum(strips) + 0.1 * len(arms)), layout="constrained")
    grid = figure.subplots(
        1 + len(strips), 1, sharex=True, squeeze=False, height_ratios=[3.6, *strips]
    )
    main, *below = grid[:, 0]
    for arm, style in styles(arms).items():
        _draw_arm(main, cells[cells["arm"] == arm], style)
    _scale_accuracy(main, cells)
    _scale_learning_rate(grid[-1, 0], sorted(cells["learning_rate"].unique()))
    for axes in below:
        _draw_diverged(axes, cells, diverging)
    _decorate(figure, main, cells, arms)
    return figure


def _draw_arm(axes: Axes, cells: pd.DataFrame, style: Style) -> None:
    rates, mean = cells["learning_rate"], cells["val_accuracy_percent"]
    axes.fill_between(rates, *_band(cells), color=style.color, alpha=0.18, linewidth=0)
    axes.plot(
        rates,
        mean,
        label=cells["arm"].iloc[0],
        color=style.color,
        linestyle=style.dashes,
        marker=style.marker,
        markersize=4.5,
        linewidth=1.6,
    )
    chosen = cells[cells["chosen"]]
    axes.plot(
        chosen["learning_rate"],
        chosen["val_accuracy_percent"],
        linestyle="",
        marker="o",
        markersize=12,
        markerfacecolor="none",
        markeredgecolor=style.color,
        markeredgewidth=1.6,
    )


def _band(cells: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """±1 sd, but no further than any run: one diverged run of ten does not make 116% likely."""
    mean, sd = cells["val_accuracy_percent"], cells["val_accuracy_sd"].fillna(0)
    low = (mean - sd).clip(lower=cells["val_accuracy_lowest"])
    high = (mean + sd).clip(upper=cells["val_accuracy_highest"])
    return low, high


def _scale_accuracy(axes: Axes, cells: pd.DataFrame) -> None:
    lowest, highest = _band(cells)
    axes.set_yscale("function", functions=(_height, _accuracy))
    known = lowest.notna().any()
    low = float(_height(lowest.min())) if known else float(_height(0))
    high = float(_height(highest.max())) if known else float(_height(90))
    margin = 0.06 * (high - low) or 0.1
    bottom, top = float(_accuracy(low - margin)), float(_accuracy(high + margin))
    axes.set_ylim(max(bottom, 0), top)
    ticks = [tick for tick in TICKS if bottom <= tick <= top]
    if len(ticks) < 4:
        ticks = [tick for tick in MaxNLocator(6).tick_values(bottom, top) if 0 <= tick <= top]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _height(accuracy: Any) -> Any:
    return -np.log10(np.maximum(100 - np.asarray(accuracy, dtype=float), SMALLEST_ERROR))


def _accuracy(height: Any) -> Any:
    return 100 - 10 ** -np.asarray(height, dtype=float)


def _scale_learning_rate(axes: Axes, rates: list[float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(rates[0] / 1.5, rates[-1] * 1.5)
    if len(rates) <= 12:
        axes.xaxis.set_major_locator(FixedLocator(rates))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.set_xlabel("learning rate")


def _draw_diverged(axes: Axes, cells: pd.DataFrame, arms: list[str]) -> None:
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_yticks(range(len(arms)), arms, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title("diverged runs", loc="left", fontsize=8, color=GREY, pad=3)
    colours = {arm: style.color for arm, style in styles(cells["arm"]).items()}
    for _, cell in cells[cells["diverged"] > 0].iterrows():
        where = cell["learning_rate"], arms.index(cell["arm"])
        count, colour = f"{cell['diverged']}/{cell['n']}", colours[cell["arm"]]
        axes.text(*where, count, color=colour, fontsize=8, ha="center", va="center")


def _decorate(figure: Figure, axes: Axes, cells: pd.DataFrame, arms: list[str]) -> None:
    axes.set_ylabel("validation accuracy, %\n(spaced by log error)")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    lines = axes.get_legend_handles_labels()[0]
    labels = [f"{arm} ({_seeds(cells[cells['arm'] == arm])})" for arm in arms]
    ring = Line2D([], [], linestyle="", marker="o", markersize=9, mfc="none", mec=GREY, mew=1.4)
    handles = [*lines, Patch(color=GREY, alpha=0.25, linewidth=0), ring]
    labels += ["±1 sd over seeds, within their range", "learning rate chosen on validation"]
    figure.legend(
        handles, labels, loc="outside upper left", ncols=1 + (max(map(len, labels)) < 40),
        frameon=False, fontsize=8.5,
    )  # fmt: skip


def _seeds(cells: pd.DataFrame) -> str:
    least, most = cells["n"].min(), cells["n"].max()
    return f"n = {most}" if least == most else f"n = {least} to {most}"
