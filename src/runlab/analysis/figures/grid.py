"""Every cell of the sweep as a table: what was tried, and how it ended."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from runlab.analysis.arms import SETTING, parts_of
from runlab.analysis.figures.canvas import (
    DIGIT_WIDTH,
    FIGURE_WIDTH,
    FONT_SIZE,
    apply_style,
    as_written,
    draw_heatmap,
    new_figure,
    wrap_label,
    write_cell,
)
from runlab.analysis.figures.scales import goodness
from runlab.analysis.formatting import ABSENT, marked, marks, number
from runlab.analysis.greys import INK, MUTED
from runlab.analysis.learning_rates import Rate, rate_text, with_rate
from runlab.analysis.palette import Style, select_styles
from runlab.measure import Measure


def grid_figure(
    cells: pd.DataFrame, measure: Measure, arm_styles: Mapping[str, Style], rate: Rate | None
) -> Figure | None:
    """Mean validation score over the learning rate, or else over the setting with most values.

    The other settings are the rows. The darker the better, the chosen cells outlined. None for a
    single cell, which is no grid.
    """
    if len(cells) < 2:
        return None
    placed, label, columns = _place(cells, list(select_styles(cells["arm"], arm_styles)), rate)
    rows = list(dict.fromkeys(placed["row"]))
    names = [wrap_label(str(name), 14) for name in columns]
    upright = sum(len(name) + 1 for name in names) > 85  # characters beside each other
    figure = new_figure(1.0 + 0.42 * len(rows) + 0.5 * upright)
    axes = figure.subplots()
    apply_style(axes, grid=None)
    scores = _table(placed, rows, columns)
    shades = goodness(scores, measure)  # so that 97 and 98% differ
    draw_heatmap(axes, shades, np.nanmin(shades, initial=0), np.nanmax(shades, initial=0))
    for _, cell in placed.iterrows():
        _write_cell(axes, cell, rows, columns, measure, rate is not None)
    axes.set_xticks(range(len(columns)), names, rotation=90 * upright)
    axes.set_yticks(range(len(rows)), [wrap_label(row, 26) for row in rows])
    axes.set_xlabel(as_written(label))
    axes.set_title(
        as_written(_title(placed, measure, rate)),
        loc="left",
        fontsize=FONT_SIZE,
        color=MUTED,
        pad=6,
    )
    return figure


def _place(
    cells: pd.DataFrame, arms: list[str], rate: Rate | None
) -> tuple[pd.DataFrame, str, list[str]]:
    """The cells with `row` and `column` names, the label of the columns, and their order."""
    cells = cells.assign(order=cells["arm"].map(arms.index)).sort_values("order")
    if rate is not None and cells["learning_rate"].nunique() > 1:
        columns = [rate_text(value) for value in sorted(cells["learning_rate"].unique())]
        names = cells["learning_rate"].map(rate_text)
        return cells.assign(row=cells["arm"], column=names), rate.title, columns
    settings = [str(name) for name in cells if str(name).startswith(SETTING)]
    most = max(settings, key=lambda name: cells[name].nunique())
    setting = most.removeprefix(SETTING)
    rows = [
        _without(arm, setting, value) for arm, value in zip(cells["arm"], cells[most], strict=True)
    ]
    names = cells[most].fillna(ABSENT).astype(str)
    return cells.assign(row=rows, column=names), setting, list(dict.fromkeys(names))


def _without(arm: str, setting: str, value: object) -> str:
    """The arm's name without the part that the columns say: its first may be the value alone."""
    first, *parts = parts_of(arm)
    kept = [part for part in parts if not part.startswith(f"{setting}=")]
    is_first = first == value or first.startswith(f"{setting}=")
    return ", ".join(kept if is_first else [first, *kept])


def _table(placed: pd.DataFrame, rows: list[str], columns: list[str]) -> NDArray[np.float64]:
    table = np.full((len(rows), len(columns)), np.nan)
    for _, cell in placed.iterrows():
        table[rows.index(cell["row"]), columns.index(cell["column"])] = cell["val_mean"]
    return table


def _write_cell(
    axes: Axes,
    cell: pd.Series,
    rows: list[str],
    columns: list[str],
    measure: Measure,
    outlined: bool,
) -> None:
    row, column = rows.index(cell["row"]), columns.index(cell["column"])
    digits = max(len(number(cell["val_mean"], measure.digits)), 5)
    size = 72 * (FIGURE_WIDTH - 1.5) / len(columns) / digits / DIGIT_WIDTH
    score = number(cell["val_mean"], measure.digits)
    ends = marked(cell)
    write_cell(axes, column, row - 0.14 * bool(ends), score, size)
    if ends:
        write_cell(axes, column, row + 0.24, ends, size - 1)
    if outlined and cell["chosen"]:
        axes.add_patch(
            Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, ec=INK, lw=1.8)
        )


def _title(placed: pd.DataFrame, measure: Measure, rate: Rate | None) -> str:
    outlined = with_rate(rate, "outlined: chosen")
    parts = [f"mean {measure.axis('validation')}", outlined, *marks(placed)]
    return "; ".join(filter(None, parts))
