"""How much each arm depends on its learning rate."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from runlab.analysis.arms import ordered
from runlab.analysis.figures.canvas import SMALL, blank, fitted, legend, tidy
from runlab.analysis.figures.scales import scale_learning_rate, scale_measure
from runlab.analysis.measure import Measure
from runlab.analysis.palette import INK, MUTED, Looks, Style, styles

APART = 1.07
"""Between two arms that share their only learning rate: a factor, so that both can be seen."""


def sensitivity_figure(
    cells: pd.DataFrame, measure: Measure, looks: Looks | None = None
) -> Figure | None:
    """Validation score against learning rate: a line and a ±1 sd band an arm, its choice ringed.

    A strip below counts diverged runs.
    """
    if cells.empty:
        return None
    arms = ordered(cells["arm"])
    diverging = [arm for arm in arms if cells.loc[cells["arm"] == arm, "diverged"].any()]
    lines = sum(_strip_label(arm).count("\n") + 1 for arm in diverging)
    strips = [0.1 + 0.17 * lines] if diverging else []
    figure = blank(3.8 + sum(strips))
    grid = figure.subplots(
        1 + len(strips), 1, sharex=True, squeeze=False, height_ratios=[3.6, *strips]
    )
    main, *below = grid[:, 0]
    _draw_arms(main, cells, looks)
    low, high = _band(cells)
    scale_measure(main, [*low, *high], measure, "validation")
    scale_learning_rate(grid[-1, 0], cells["learning_rate"])
    for axes in below:
        _draw_diverged(axes, cells, diverging)
    for axes in grid[:, 0]:
        tidy(axes, "y" if axes is main else None)
    _explain(figure, main, cells, arms)
    return figure


def _draw_arms(axes: Axes, cells: pd.DataFrame, looks: Looks | None) -> None:
    arms = styles(cells["arm"], looks)
    alone = cells["learning_rate"].nunique() == 1
    for index, (arm, style) in enumerate(arms.items()):
        shift = APART ** (index - (len(arms) - 1) / 2) if alone else 1
        own = cells[cells["arm"] == arm].sort_values("learning_rate")
        _draw_arm(axes, own.assign(learning_rate=own["learning_rate"] * shift), style)


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


def _draw_diverged(axes: Axes, cells: pd.DataFrame, arms: list[str]) -> None:
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_yticks(range(len(arms)), [_strip_label(arm) for arm in arms])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title("diverged runs", loc="left", fontsize=SMALL, color=MUTED, pad=3)
    for _, cell in cells[cells["diverged"] > 0].iterrows():
        where = cell["learning_rate"], arms.index(cell["arm"])
        count = f"{cell['diverged']}/{cell['n']}"
        axes.text(*where, count, color=INK, fontsize=SMALL, ha="center", va="center")


def _strip_label(arm: str) -> str:
    return fitted(arm, 30, lines=2)


def _explain(figure: Figure, axes: Axes, cells: pd.DataFrame, arms: list[str]) -> None:
    lines = axes.get_legend_handles_labels()[0]
    labels = [fitted(f"{arm} ({_seeds(cells[cells['arm'] == arm])})", 84, 2) for arm in arms]
    ring = Line2D([], [], linestyle="", marker="o", markersize=9, mfc="none", mec=MUTED, mew=1.4)
    handles = [*lines, ring]
    labels.append("learning rate chosen on validation")
    if (cells["n"] > 1).any():
        handles.append(Patch(color=MUTED, alpha=0.3, linewidth=0))
        labels.append("±1 sd over seeds, within their range")
    legend(figure, handles, labels)


def _seeds(cells: pd.DataFrame) -> str:
    least, most = cells["n"].min(), cells["n"].max()
    count = f"n = {most}" if least == most else f"n = {least} to {most}"
    return count.replace(" ", "\N{NBSP}")
