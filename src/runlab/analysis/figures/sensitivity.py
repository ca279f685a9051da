"""How much each arm depends on its learning rate."""

from collections.abc import Iterable, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from runlab.analysis.figures.canvas import (
    FONT_SIZE,
    add_legend,
    apply_style,
    as_written,
    new_figure,
    wrap_label,
)
from runlab.analysis.figures.scales import scale_learning_rate, scale_measure
from runlab.analysis.greys import INK, MUTED
from runlab.analysis.learning_rates import NO_RATE, Rate
from runlab.analysis.palette import Style, select_styles
from runlab.measure import Measure
from runlab.runs.record import UNSOUND

SHIFT = 1.07
"""The factor between two arms that share their only learning rate, so that both can be seen; of 0
what it adds to 1 is added."""


def sensitivity_figure(
    cells: pd.DataFrame, measure: Measure, arm_styles: Mapping[str, Style], rate: Rate | None
) -> Figure | None:
    """Validation score against learning rate; a strip below counts runs that ended badly.

    Each arm that has one has a line and a band of ±1 sd; a ring marks its chosen learning rate.
    """
    cells = cells[cells["learning_rate"] != NO_RATE]
    if rate is None or cells.empty:
        return None
    shown = select_styles(cells["arm"], arm_styles)
    below = {end: _arms_with(cells, shown, end) for end in UNSOUND if cells[end].any()}
    strips = [_strip_height(arms) for arms in below.values()]
    figure = new_figure(3.8 + sum(strips))
    grid = figure.subplots(
        1 + len(strips), 1, sharex=True, squeeze=False, height_ratios=[3.6, *strips]
    )
    main, *strip_axes = grid[:, 0]
    _draw_arms(main, cells, shown)
    low, high = _band(cells)
    scale_measure(main, [*low, *high], measure, "validation")
    scale_learning_rate(grid[-1, 0], cells["learning_rate"], rate.title)
    for axes, (end, arms) in zip(strip_axes, below.items(), strict=True):
        _draw_counts(axes, cells, end, arms)
    for axes in grid[:, 0]:
        apply_style(axes, "y" if axes is main else None)
    _add_legend(figure, main, cells, rate)
    return figure


def _draw_arms(axes: Axes, cells: pd.DataFrame, shown: Mapping[str, Style]) -> None:
    alone = cells["learning_rate"].nunique() == 1
    for index, (arm, style) in enumerate(shown.items()):
        shift = SHIFT ** (index - (len(shown) - 1) / 2) if alone else 1
        own = cells[cells["arm"] == arm].sort_values("learning_rate")
        rates = own["learning_rate"]
        _draw_arm(axes, own.assign(learning_rate=rates * shift + (rates == 0) * (shift - 1)), style)


def _draw_arm(axes: Axes, cells: pd.DataFrame, style: Style) -> None:
    rates, (low, high) = cells["learning_rate"], _band(cells)
    if len(cells) == 1:
        axes.vlines(rates, low, high, color=style.color, alpha=0.5, linewidth=3)
    axes.fill_between(rates, low, high, color=style.color, alpha=0.18, linewidth=0)
    axes.plot(
        rates, cells["val_mean"], label=cells["arm"].iloc[0], color=style.color,
        linestyle=style.dashes, marker=style.marker, markersize=4.5, linewidth=1.6,
    )  # fmt: skip
    chosen = cells[cells["chosen"]]
    axes.plot(
        chosen["learning_rate"], chosen["val_mean"], linestyle="", marker="o", markersize=12,
        markerfacecolor="none", markeredgecolor=style.color, markeredgewidth=1.6,
    )  # fmt: skip


def _band(cells: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """±1 sd, but no further than any run: one diverged run of ten does not make 116% likely."""
    mean, sd = cells["val_mean"], cells["val_sd"].fillna(0)
    low = (mean - sd).clip(lower=cells["val_lowest"])
    high = (mean + sd).clip(upper=cells["val_highest"])
    return low, high


def _arms_with(cells: pd.DataFrame, shown: Iterable[str], end: str) -> list[str]:
    return [arm for arm in shown if cells.loc[cells["arm"] == arm, end].any()]


def _strip_height(arms: list[str]) -> float:
    return 0.1 + 0.17 * sum(_strip_label(arm).count("\n") + 1 for arm in arms)


def _draw_counts(axes: Axes, cells: pd.DataFrame, end: str, arms: list[str]) -> None:
    """How many runs of each cell diverged, or collapsed."""
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_yticks(range(len(arms)), [_strip_label(arm) for arm in arms])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title(f"{end} runs", loc="left", fontsize=FONT_SIZE, color=MUTED, pad=3)
    for _, cell in cells[cells[end] > 0].iterrows():
        where = cell["learning_rate"], arms.index(cell["arm"])
        count = f"{cell[end]}/{cell['n']}"
        axes.text(*where, count, color=INK, fontsize=FONT_SIZE, ha="center", va="center")


def _strip_label(arm: str) -> str:
    return wrap_label(arm, 30, lines=2)


def _add_legend(figure: Figure, axes: Axes, cells: pd.DataFrame, rate: Rate) -> None:
    drawn = {str(line.get_label()): line for line in axes.get_lines()}
    # matplotlib's own list of them lacks a name that begins with _
    lines = {arm: drawn[arm] for arm in dict.fromkeys(cells["arm"]) if arm in drawn}
    labels = [wrap_label(f"{arm} ({_seeds(cells[cells['arm'] == arm])})", 84, 2) for arm in lines]
    ring = Line2D([], [], linestyle="", marker="o", markersize=9, mfc="none", mec=MUTED, mew=1.4)
    handles: list[Line2D | Patch] = [*lines.values(), ring]
    labels.append(as_written(f"{rate.title} chosen on validation"))
    if (cells["n"] > 1).any():
        handles.append(Patch(color=MUTED, alpha=0.3, linewidth=0))
        labels.append("±1 sd over seeds, within their range")
    add_legend(figure, handles, labels)


def _seeds(cells: pd.DataFrame) -> str:
    least, most = cells["n"].min(), cells["n"].max()
    count = f"n = {most}" if least == most else f"n = {least} to {most}"
    return count.replace(" ", "\N{NBSP}")
