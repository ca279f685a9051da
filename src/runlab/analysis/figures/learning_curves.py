"""How fast and how steadily each arm learns at its chosen learning rate."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from runlab.analysis.figures.canvas import add_legend, apply_style, new_figure, wrap_label
from runlab.analysis.figures.scales import scale_measure
from runlab.analysis.greys import MUTED
from runlab.analysis.learning_rates import Rate, rate_text, with_rate
from runlab.analysis.palette import Style, select_styles
from runlab.measure import Measure


def learning_curves_figure(
    curves: pd.DataFrame,
    measure: Measure,
    measures: Sequence[Measure],
    arm_styles: Mapping[str, Style],
    rate: Rate | None,
) -> Figure | None:
    """The measure on validation against epochs, and another one beside it.

    Args:
        curves: one row a run and epoch, with the measures as `val/<name>` in their units.
        measures: all that the runs' module declares, the primary one first.
    """
    panels = [
        panel
        for panel in (measure, *measure_beside(measure, measures))
        if has_values(curves, f"val/{panel.name}")
    ]
    if not panels:
        return None
    figure = new_figure(2.9)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_panel(axes, curves, panel, arm_styles)
    add_curve_legend(figure, curves, arm_styles, rate)
    return figure


def measure_beside(measure: Measure, measures: Sequence[Measure]) -> list[Measure]:
    """The second of those that all arms share the unit of; the first one beside that itself."""
    candidates = [each for each in measures if each.comparable][:2]
    return [each for each in reversed(candidates) if each.name != measure.name][:1]


def _draw_panel(
    axes: Axes, curves: pd.DataFrame, measure: Measure, arm_styles: Mapping[str, Style]
) -> None:
    column = f"val/{measure.name}"
    seen: list[float] = []
    for arm, style in select_styles(curves["arm"], arm_styles).items():
        curve = draw_curve(axes, curves[curves["arm"] == arm], column, style)
        seen += [*curve["low"], *curve["high"]]
    scale_measure(axes, seen, measure, "validation")
    scale_epochs(axes, curves.dropna(subset=column)["epoch"])
    apply_style(axes)


def has_values(curves: pd.DataFrame, column: str) -> bool:
    return column in curves and bool(curves[column].notna().any())


def summarize_curve(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Indexed by epoch: `mean`, `low` and `high` (±1 sd within the range of the runs), `count`.

    Over the runs that are still there; a value that is not finite is left out.
    """
    finite = runs[column].where(runs[column].abs() < math.inf)
    table = finite.groupby(runs["epoch"].round(6)).agg(["mean", "std", "min", "max", "count"])
    sd = table["std"].fillna(0)
    low = (table["mean"] - sd).clip(lower=table["min"])
    high = (table["mean"] + sd).clip(upper=table["max"])
    return table[["mean", "count"]].assign(low=low, high=high)[table["count"] > 0]


def draw_curve(axes: Axes, runs: pd.DataFrame, column: str, style: Style) -> pd.DataFrame:
    """Draws one arm's mean over its runs with a band, and returns it as `summarize_curve` does.

    The line is faint from where a run is missing; × marks where a run ended early.
    """
    table = summarize_curve(runs, column)
    axes.fill_between(
        table.index, table["low"], table["high"], color=style.color, alpha=0.18, linewidth=0
    )
    complete = table["count"] == runs["run"].nunique()
    # the faint line begins at the last point of the full one
    rest = table[~complete | ~complete.shift(-1, fill_value=True)]
    marker = style.marker if len(table) <= 20 else ""
    axes.plot(rest.index, rest["mean"], color=style.color, linestyle=style.dashes, marker=marker,
              linewidth=0.9, ms=2, alpha=0.6)  # fmt: skip
    whole = table["mean"].where(complete)
    axes.plot(whole.index, whole, color=style.color, linestyle=style.dashes, marker=marker,
              linewidth=1.6, ms=3.5, label=runs["arm"].iloc[0])  # fmt: skip
    ended = early_ends(runs.dropna(subset=column))
    axes.plot(ended["epoch"], ended[column], linestyle="", marker="x", ms=6, mew=1.6,
              color=style.color)  # fmt: skip
    return table


def early_ends(runs: pd.DataFrame) -> pd.DataFrame:
    """The last row of each run that ended before the others of its arm."""
    last = runs.sort_values("epoch").drop_duplicates("run", keep="last")
    return last[last["epoch"] < last["epoch"].max() - 1e-6]


def scale_epochs(axes: Axes, epochs: pd.Series) -> None:
    """From the first value to the last: before the first epoch's end there is nothing to see."""
    first, last = float(epochs.min()), float(epochs.max())
    room = 0.04 * (last - first) or 0.5
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.set_xlim(first - room, last + room)
    axes.set_xlabel("epoch")


def add_curve_legend(
    figure: Figure, curves: pd.DataFrame, arm_styles: Mapping[str, Style], rate: Rate | None
) -> None:
    """Each arm's learning rate and number of runs; the × only where a run ended early."""
    handles: list[Line2D | Patch] = []
    labels = []
    for arm, style in select_styles(curves["arm"], arm_styles).items():
        own = curves[curves["arm"] == arm]
        handles.append(
            Line2D([], [], color=style.color, ls=style.dashes, marker=style.marker, ms=4)
        )
        value, n = rate_text(own["learning_rate"].iloc[0]), own["run"].nunique()
        chosen = with_rate(rate, f"{{title}} {value}, ")
        labels.append(wrap_label(f"{arm} ({chosen}n\N{NBSP}=\N{NBSP}{n})", 84, 2))
    if curves.groupby("arm")["run"].nunique().max() > 1:
        handles.append(Patch(color=MUTED, alpha=0.3, linewidth=0))
        labels.append("±1 sd over seeds, within their range")
    if any(not early_ends(own).empty for _, own in curves.groupby("arm")):
        handles.append(Line2D([], [], color=MUTED, marker="x", ls="", ms=6, mew=1.6))
        labels.append("a run ended; from there, the mean of the rest")
    add_legend(figure, handles, labels)
