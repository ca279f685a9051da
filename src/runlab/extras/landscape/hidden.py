"""What the plane hides: the true loss along a path, and the loss at the nearest point on it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from runlab.analysis.figures.canvas import FONT_SIZE, apply_style
from runlab.analysis.figures.scales import scale_positive
from runlab.analysis.palette import INK
from runlab.extras.landscape.result import Descended


def draw_hidden(axes: Axes, each: Descended) -> None:
    """Both over optimizer steps, logarithmic from step 1 on; the start is step 0."""
    apply_style(axes, grid="both")
    steps, color = each.path["step"], each.style.color
    true, projected = (
        each.path[column].replace([np.inf, -np.inf], np.nan)
        for column in ("loss", "projected_loss")
    )
    axes.fill_between(steps, true, projected, color=color, alpha=0.15, linewidth=0)
    axes.plot(
        steps,
        projected,
        color=color,
        linestyle="--",
        linewidth=1.2,
        label="nearest point on the plane",
    )
    axes.plot(steps, true, color=color, linewidth=1.6, label="the path itself")
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    scale_positive(axes, [*true, *projected])
    axes.set_xlim(0, steps.iloc[-1] * 1.15)
    axes.set_xlabel("optimizer step", fontsize=FONT_SIZE)
    axes.legend(frameon=False, fontsize=FONT_SIZE - 0.5, labelcolor=INK, loc="best")
