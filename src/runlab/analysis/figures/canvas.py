"""What every figure is drawn on: one width, the page's four greys, names that fit, heat maps."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from runlab.analysis.greys import INK, LINES, MUTED, PAPER
from runlab.text import printable

FIGURE_WIDTH = 7.2
"""Inches: 720 pixels at 100 dots per inch."""

FONT_SIZE = 8.0
"""Points, of titles, ticks and legends."""

DIGIT_WIDTH = 0.62
"""Of a digit, as a share of its font size."""

LEGEND_LINE = 0.18
"""Height in inches of a legend's line."""

NOTE_LINE = 9.5
"""Height in points of a line of the note below a title."""

TINT = to_rgb("#4477AA")
# The ground shines through, so that ink keeps a contrast of at least 4.5 on it, light or dark.
TINT_MAP = LinearSegmentedColormap.from_list("tint", [(*TINT, 0.03), (*TINT, 0.75)])


def new_figure(height: float) -> Figure:
    """An empty figure; its height is in inches."""
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
    return Figure(figsize=(FIGURE_WIDTH, height), facecolor=PAPER, layout=layout)


def apply_style(axes: Axes, grid: Literal["x", "y", "both"] | None = "y") -> None:
    """Gives every line and letter of the axes one of the page's greys, so that it can turn dark."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(MUTED)
    axes.tick_params(which="both", color=MUTED, labelcolor=INK, labelsize=FONT_SIZE)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=FONT_SIZE + 1)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(axis=grid, color=LINES, linewidth=0.6)


def set_title(axes: Axes, title: str, note: str = "") -> None:
    """A title to the left and, below it and smaller, what else has to be known."""
    above = 7 + NOTE_LINE * (note.count("\n") + 1) if note else 6
    axes.set_title(title, loc="left", fontsize=FONT_SIZE + 0.5, color=INK, pad=above)
    axes.annotate(
        note, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points",
        fontsize=FONT_SIZE - 1, color=MUTED, va="bottom",
    )  # fmt: skip


def add_legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Above the axes, in columns where the labels are short; the figure grows by its height."""
    longest = max(map(len, labels))
    columns = 3 if longest <= 30 else 2 if longest < 46 else 1
    lines = math.ceil(sum(label.count("\n") + 1 for label in labels) / columns)
    figure.set_figheight(figure.get_figheight() + 0.1 + LEGEND_LINE * lines)
    figure.legend(
        handles, labels, loc="outside upper left", ncols=columns,
        frameon=False, fontsize=FONT_SIZE + 0.5, labelcolor=INK,
    )  # fmt: skip


def wrap_label(name: str, width: int, lines: int = 3) -> str:
    """An arm's name, as it is written, on at most so many lines, cut by … beyond."""
    wrapped = textwrap.wrap(
        printable(name), width, max_lines=lines, placeholder=" …", break_on_hyphens=False
    )
    return as_written("\n".join(wrapped))


def as_written(text: str) -> str:
    """For a figure: a $ in it is not mathematics."""
    return printable(text, keep="\n").replace("$", r"\$")


def draw_heatmap(
    axes: Axes, values: NDArray[np.float64], lowest: float, highest: float
) -> QuadMesh:
    """The first row on top, cells 1 × 1 around whole numbers; NaN stays empty."""
    rows, columns = values.shape
    norm = Normalize(lowest, highest if highest > lowest else lowest + 1)
    mesh = axes.pcolormesh(
        np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5, np.ma.masked_invalid(values),
        cmap=TINT_MAP, norm=norm, edgecolors=PAPER, linewidth=1,
    )  # fmt: skip
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return mesh


def write_cell(axes: Axes, column: float, row: float, text: str, size: float, **style: Any) -> None:
    """In the middle of a heat map's cell; `size` is in points, and never above the other text's."""
    options = {"color": INK, "ha": "center", "va": "center"} | style
    axes.text(column, row, text, fontsize=min(size, FONT_SIZE), **options)
