"""Two loss surfaces on one plane with both paths, and beneath them what the plane does not show."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from runlab.analysis.figures.canvas import (
    FONT_SIZE,
    add_legend,
    apply_style,
    new_figure,
    set_title,
    wrap_label,
)
from runlab.analysis.figures.scales import scale_positive
from runlab.analysis.palette import INK, MUTED
from runlab.extras.landscape.landscape import ArmResult, Landscape
from runlab.extras.landscape.maps import diameter, draw_map


def landscape_figure(landscape: Landscape) -> Figure:
    """A map for each loss, one if both are the same; beneath, each arm's loss over its steps."""
    figure = new_figure(6.4)
    above = ["map 0", "map 0"] if landscape.one_loss else ["map 0", "map 1"]
    axes: dict[str, Any] = figure.subplot_mosaic(
        [above, ["losses 0", "losses 1"]],  # type: ignore[list-item]
        height_ratios=[1.7, 1],
    )
    for index, each in enumerate(landscape.arms):
        if f"map {index}" in axes:
            draw_map(figure, axes[f"map {index}"], landscape, each)
            set_title(axes[f"map {index}"], title(landscape, each), note(landscape, each))
        plot_off_plane_loss(axes[f"losses {index}"], each)
        set_title(axes[f"losses {index}"], f"Along the path of {wrap_label(each.arm, 30, 2)}")
    axes["losses 0"].set_ylabel("loss on the same samples", fontsize=FONT_SIZE)
    if "map 1" in axes:
        axes["map 1"].set_ylabel("")  # the planes are one
    explain(figure, landscape)
    return figure


def title(landscape: Landscape, each: ArmResult) -> str:
    return (
        "The loss surface of both"
        if landscape.one_loss
        else f"The loss surface of {wrap_label(each.arm, 30, 2)}"
    )


def note(landscape: Landscape, each: ArmResult) -> str:
    samples = f"mean of {landscape.samples:,} training samples, seed {landscape.seed} (n = 1)"
    if math.isnan(each.share_in_plane):
        return samples
    return f"{samples}\nof its −gradient at the start, {each.share_in_plane:.0%} lies in the plane"


def explain(figure: Figure, landscape: Landscape) -> None:
    handles, targets = [], []
    for each in landscape.arms:
        style = each.style
        handles.append(Line2D([], [], color=style.color, ls=style.dashes, linewidth=1.6))
        targets.append(f"path of {wrap_label(each.arm, 34, 2)} (lr {each.run.learning_rate:g})")
    largest_distance = max(each.largest_distance for each in landscape.arms)
    for distance, words in (
        (0.0, "on the plane"),
        (largest_distance, f"{largest_distance:.2g} away from the plane"),
    ):
        size = diameter(distance, largest_distance)
        handles.append(Line2D([], [], linestyle="", marker="o", markersize=size, color=MUTED))
        targets.append(words)
    add_legend(figure, handles, targets)


def plot_off_plane_loss(axes: Axes, each: ArmResult) -> None:
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
