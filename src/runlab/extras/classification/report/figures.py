"""Figures of the predictions on the test images: reliability diagrams and confusion matrices."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from runlab.analysis.figures.canvas import (
    FONT_SIZE,
    apply_style,
    draw_heatmap,
    new_figure,
    set_title,
    wrap_label,
    write_cell,
)
from runlab.analysis.formatting import number
from runlab.analysis.greys import INK, LINES, MUTED
from runlab.analysis.palette import Style, select_styles

RELIABILITY_COLUMNS = 3
RELIABILITY_HEIGHTS = {1: 3.8, 2: 3.4, 3: 2.7}
TITLE_WIDTHS = {1: 90, 2: 44, 3: 27}
"""Inches of a diagram and characters of its title, by the number of columns of diagrams."""

FEWEST_IMAGES = 10
"""Of all runs, in a bin: the accuracy of fewer says nothing."""

MAX_WRITTEN_CLASSES = 12
"""With more, the numbers would not fit into their cells, and a colour bar says what they are."""

MATRIX_WIDTHS = {1: 4.4, 2: 2.9, 3: 1.75}
"""Inches of a matrix, by the number of columns of matrices."""


def reliability_figure(
    reliability: pd.DataFrame, arms: pd.DataFrame, arm_styles: Mapping[str, Style]
) -> Figure | None:
    """A diagram for each arm: accuracy against confidence in bins, and the bins' shares of images.

    The band is Student's 95% interval over runs; bins of fewer than 10 images have a share alone.
    What lies under the diagonal is overconfident.
    """
    if reliability.empty:
        return None
    shown = select_styles(reliability["arm"], arm_styles)
    columns = min(RELIABILITY_COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    titles = [_title_and_note(arm, arms, TITLE_WIDTHS[columns]) for arm in shown]
    longest = max(note.count("\n") for _, note in titles)
    # so that titles stand at one height
    titles = [(title, note + "\n" * (longest - note.count("\n"))) for title, note in titles]
    lines = max(title.count("\n") + note.count("\n") + 2 for title, note in titles)
    figure = new_figure(rows * (RELIABILITY_HEIGHTS[columns] + 0.14 * lines))
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[3.2, 1] * rows)
    panels = list(zip(grid[0::2].flat, grid[1::2].flat, strict=True))
    for (diagram, shares), title, (arm, style) in zip(panels, titles, shown.items(), strict=False):
        own = reliability[reliability["arm"] == arm].sort_values("bin_low")
        _draw_diagram(diagram, own, style)
        _draw_shares(shares, own, style)
        set_title(diagram, *title)
    for diagram, shares in panels[::columns]:
        diagram.set_ylabel("accuracy")
        shares.set_ylabel("% of\nimages")
    for axes in (axes for panel in panels[len(shown) :] for axes in panel):
        axes.remove()
    return figure


def _title_and_note(arm: str, arms: pd.DataFrame, width: int) -> tuple[str, str]:
    """The arm; then its expected calibration error and how its outputs become probabilities."""
    row = arms[arms["arm"] == arm].iloc[0]
    ece = f"ECE {number(row['test_ece'], 4)}"
    if not math.isnan(row["test_ece_low"]):
        ece += f" [{number(row['test_ece_low'], 4)}, {number(row['test_ece_high'], 4)}]"
    formula = wrap_label(row["probability_formula"], width + 4)
    return wrap_label(arm, width), "\n".join(filter(None, (ece, formula)))


def _draw_diagram(axes: Axes, own: pd.DataFrame, style: Style) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    own = own[own["images"] >= min(FEWEST_IMAGES, own["images"].max())]
    low, high = own["accuracy_low"].clip(lower=0), own["accuracy_high"].clip(upper=1)
    axes.fill_between(own["confidence"], low, high, color=style.color, alpha=0.2, linewidth=0)
    axes.plot(own["confidence"], own["accuracy"], color=style.color, ls=style.dashes,
              marker=style.marker, ms=4, linewidth=1.4)  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.tick_params(labelbottom=False)
    apply_style(axes, "both")


def _draw_shares(axes: Axes, own: pd.DataFrame, style: Style) -> None:
    share = 100 * own["images"] / own["images"].sum()
    axes.bar(own["bin_low"], share, own["bin_high"] - own["bin_low"], align="edge",
             color=style.color, alpha=0.55, edgecolor=LINES, linewidth=0.5)  # fmt: skip
    axes.set_yscale("log")
    axes.set(xlim=(0, 1), ylim=(min(share.min() / 2, 0.1), 150))
    axes.yaxis.set_major_locator(LogLocator(numticks=4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("confidence")
    apply_style(axes)


def confusion_figure(confusion: pd.DataFrame, arm_styles: Mapping[str, Style]) -> Figure | None:
    """Mean errors of a run, rows the truth, one colour scale for all arms; the diagonal is grey."""
    if confusion.empty:
        return None
    arms = list(select_styles(confusion["arm"], arm_styles))
    classes = sorted({*confusion["truth"], *confusion["predicted"]})
    tables = {arm: _table(confusion[confusion["arm"] == arm], classes) for arm in arms}
    most = max(float(_errors(table).max()) for table in tables.values())
    columns = min(len(arms), 2 if len(arms) == 4 else 3)
    rows = math.ceil(len(arms) / columns)
    titles = [wrap_label(arm, 72 // columns, lines=4) for arm in arms]
    lines = max(title.count("\n") + 1 for title in titles)
    figure = new_figure(rows * (MATRIX_WIDTHS[columns] + 0.85 + 0.15 * lines))
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, title, (arm, table) in zip(grid, titles, tables.items(), strict=False):
        runs = int(confusion.loc[confusion["arm"] == arm, "n"].iloc[0])
        mesh = _draw_matrix(axes, table, classes, most, MATRIX_WIDTHS[columns])
        set_title(axes, title, _summary(table, runs))
    for axes in grid[len(arms) :]:
        axes.remove()
    if len(classes) > MAX_WRITTEN_CLASSES:
        _draw_colour_bar(figure, mesh, grid[: len(arms)])
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
    digits = 0 if errors == round(errors) else 1
    return f"{_count(errors, digits)} errors{share}{over}"


def _draw_matrix(
    axes: Axes, table: NDArray[np.float64], classes: list[int], most: float, width: float
) -> QuadMesh:
    errors = _errors(table)
    off_diagonal = np.where(np.eye(len(table), dtype=bool), np.nan, errors)
    apply_style(axes, grid=None)
    mesh = draw_heatmap(axes, off_diagonal, 0, most)
    for index in range(len(classes)):
        axes.add_patch(Rectangle((index - 0.5, index - 0.5), 1, 1, color=LINES, linewidth=0))
    if len(classes) <= MAX_WRITTEN_CLASSES:
        _write_counts(axes, errors, 72 * width / len(classes))
        names = [str(label) for label in classes]
        axes.set_xticks([*range(len(classes)), len(classes)], [*names, "all"])
        axes.set_yticks(range(len(classes)), names)
    axes.set(xlabel="predicted", ylabel="truth", aspect="equal", xlim=(-0.5, len(classes) + 0.5))
    return mesh


def _write_counts(axes: Axes, errors: NDArray[np.float64], width: float) -> None:
    """Into cells of so many points' width; the row's sum beside its end."""
    size = width / 2.1  # three digits and some room
    digits = 0 if np.array_equal(errors, errors.round()) else 1
    for row, column in np.argwhere(errors > 0).tolist():
        write_cell(axes, column, row, _count(errors[row, column], digits), size)
    for row, total in enumerate(errors.sum(axis=1).tolist()):
        count = _count(total, digits)
        write_cell(axes, len(errors), row, count, size, color=MUTED, fontweight="bold")


def _count(images: float, digits: int) -> str:
    """A mean over runs: with tenths, where the number is small and the others have them."""
    return f"{images:.{digits}f}" if 0 < images < 9.95 else f"{images:.0f}"


def _draw_colour_bar(figure: Figure, mesh: QuadMesh, axes: list[Axes]) -> None:
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, label="mean errors of a run")
    bar.ax.spines[:].set_visible(False)
    bar.ax.tick_params(color=MUTED, labelcolor=INK, labelsize=FONT_SIZE)
    bar.ax.yaxis.label.set(color=INK, fontsize=FONT_SIZE)
