"""The ground that every figure is drawn on: one width, the page's four greys, names that fit."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from runlab.analysis.palette import INK, LINES, MUTED, PAPER

WIDTH = 7.2
"""Inches: 720 pixels at 100 dots per inch."""

SMALL = 8.0
"""Points, for titles, ticks and legends."""

LEGEND_LINE = 0.18
"""Inches."""

LINE_OF_NOTE = 9.5
"""Points from line to line of what is smaller than that."""


def blank(height: float) -> Figure:
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
    return Figure(figsize=(WIDTH, height), facecolor=PAPER, layout=layout)


def tidy(axes: Axes, grid: Literal["x", "y", "both"] | None = "y") -> None:
    """Every line and letter of the axes in one of the page's greys, so that it can turn dark."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(MUTED)
    axes.tick_params(which="both", color=MUTED, labelcolor=INK, labelsize=SMALL)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=SMALL + 1)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(axis=grid, color=LINES, linewidth=0.6)


def entitle(axes: Axes, title: str, note: str = "") -> None:
    """A title to the left and, below it and smaller, what else has to be known."""
    above = 7 + LINE_OF_NOTE * (note.count("\n") + 1) if note else 6
    axes.set_title(title, loc="left", fontsize=SMALL + 0.5, color=INK, pad=above)
    axes.annotate(
        note, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points",
        fontsize=SMALL - 1, color=MUTED, va="bottom",
    )  # fmt: skip


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Above the axes, in two columns where the labels are short; the figure grows by its height."""
    columns = 2 if max(map(len, labels)) < 46 else 1
    lines = math.ceil(sum(label.count("\n") + 1 for label in labels) / columns)
    figure.set_figheight(figure.get_figheight() + 0.1 + LEGEND_LINE * lines)
    figure.legend(
        handles, labels, loc="outside upper left", ncols=columns,
        frameon=False, fontsize=SMALL + 0.5, labelcolor=INK,
    )  # fmt: skip


def fitted(name: str, width: int, lines: int = 3) -> str:
    """An arm's name over at most so many lines, cut by … beyond; a $ in it is not mathematics."""
    wrapped = textwrap.wrap(name, width, max_lines=lines, placeholder=" …", break_on_hyphens=False)
    return "\n".join(wrapped).replace("$", r"\$")
