"""Tables drawn as tinted cells, readable on a light and on a dark ground."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from numpy.typing import NDArray

from runlab.analysis.figures.canvas import SMALL
from runlab.analysis.palette import INK, PAPER

TINT = to_rgb("#4477AA")
# The ground shines through, so that ink keeps a contrast of at least 4.5 on it, light or dark.
MAP = LinearSegmentedColormap.from_list("tint", [(*TINT, 0.03), (*TINT, 0.75)])


def draw_heat(axes: Axes, values: NDArray[np.float64], lowest: float, highest: float) -> QuadMesh:
    """The first row on top, cells 1 × 1 around whole numbers; NaN stays empty."""
    rows, columns = values.shape
    norm = Normalize(lowest, highest if highest > lowest else lowest + 1)
    mesh = axes.pcolormesh(
        np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5, np.ma.masked_invalid(values),
        cmap=MAP, norm=norm, edgecolors=PAPER, linewidth=1,
    )  # fmt: skip
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return mesh


def write(axes: Axes, column: float, row: float, text: str, size: float, **style: Any) -> None:
    options = {"color": INK, "ha": "center", "va": "center"} | style
    axes.text(column, row, text, fontsize=min(size, SMALL), **options)
