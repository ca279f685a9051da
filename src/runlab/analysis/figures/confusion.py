"""Which classes each arm takes for which."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from runlab.analysis.arms import ordered
from runlab.analysis.figures.canvas import SMALL, blank, entitle, fitted, tidy
from runlab.analysis.figures.heat import draw_heat, write
from runlab.analysis.palette import INK, LINES, MUTED

CLASSES_WRITTEN = 12
"""With more, the numbers would not fit into their cells, and a colour bar says what they are."""

WIDE = {1: 4.4, 2: 2.9, 3: 1.75}
"""Inches of a matrix, by the number of columns of them."""


def confusion_figure(confusion: pd.DataFrame) -> Figure | None:
    """Mean errors of a run, rows the truth, one colour scale for all arms; the diagonal is grey."""
    if confusion.empty:
        return None
    arms = ordered(confusion["arm"])
    classes = sorted({*confusion["truth"], *confusion["predicted"]})
    tables = {arm: _table(confusion[confusion["arm"] == arm], classes) for arm in arms}
    most = max(float(_errors(table).max()) for table in tables.values())
    columns = min(len(arms), 2 if len(arms) <= 4 else 3)
    rows = math.ceil(len(arms) / columns)
    titles = [fitted(arm, 72 // columns, lines=4) for arm in arms]
    lines = max(title.count("\n") + 1 for title in titles)
    figure = blank(rows * (WIDE[columns] + 0.85 + 0.15 * lines))
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, title, (arm, table) in zip(grid, titles, tables.items(), strict=False):
        runs = int(confusion.loc[confusion["arm"] == arm, "n"].iloc[0])
        mesh = _draw_arm(axes, table, classes, most, WIDE[columns])
        entitle(axes, title, _summary(table, runs))
    for axes in grid[len(arms) :]:
        axes.remove()
    if len(classes) > CLASSES_WRITTEN:
        _draw_bar(figure, mesh, grid[: len(arms)])
    return figure


def _table(own: pd.DataFrame, classes: list[int]) -> NDArray[np.float64]:
    table = own.pivot_table("images", "truth", "predicted", aggfunc="sum")
    return table.reindex(index=classes, columns=classes).fillna(0).to_numpy(dtype=float)


def _errors(table: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.eye(len(table), dtype=bool), 0, table)


def _summary(table: NDArray[np.float64], runs: int) -> str:
    errors, images = _errors(table).sum(), table.sum()
    share = f" ({100 * errors / images:.2f}%)" if images else ""
    over = f", mean of {runs} runs" if runs > 1 else ", 1 run"
    return f"{_count(errors)} errors{share}{over}"


def _draw_arm(
    axes: Axes, table: NDArray[np.float64], classes: list[int], most: float, wide: float
) -> QuadMesh:
    errors = _errors(table)
    off_diagonal = np.where(np.eye(len(table), dtype=bool), np.nan, errors)
    tidy(axes, grid=None)
    mesh = draw_heat(axes, off_diagonal, 0, most)
    for index in range(len(classes)):
        axes.add_patch(Rectangle((index - 0.5, index - 0.5), 1, 1, color=LINES, linewidth=0))
    if len(classes) <= CLASSES_WRITTEN:
        _write_counts(axes, errors, 72 * wide / len(classes))
        names = [str(label) for label in classes]
        axes.set_xticks([*range(len(classes)), len(classes)], [*names, "all"])
        axes.set_yticks(range(len(classes)), names)
    axes.set(xlabel="predicted", ylabel="truth", aspect="equal", xlim=(-0.5, len(classes) + 0.5))
    return mesh


def _write_counts(axes: Axes, errors: NDArray[np.float64], cell: float) -> None:
    """Into cells so many points wide; the row's sum beside its end."""
    size = cell / 2.1  # three characters, each 0.62 of its size wide
    for row, column in np.argwhere(errors > 0).tolist():
        write(axes, column, row, _count(errors[row, column]), size)
    for row, total in enumerate(errors.sum(axis=1).tolist()):
        write(axes, len(errors), row, _count(total), size, color=MUTED, fontweight="bold")


def _count(images: float) -> str:
    """Tenths, being a mean over runs, where they would still be seen."""
    return f"{images:.0f}" if images >= 9.95 or images == round(images) else f"{images:.1f}"


def _draw_bar(figure: Figure, mesh: QuadMesh, axes: list[Axes]) -> None:
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, label="mean errors of a run")
    bar.ax.spines[:].set_visible(False)
    bar.ax.tick_params(color=MUTED, labelcolor=INK, labelsize=SMALL)
    bar.ax.yaxis.label.set(color=INK, fontsize=SMALL)
