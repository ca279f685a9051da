"""Two loss surfaces on one plane with both descents, and beneath them what the plane hides."""

import math
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from runlab.analysis.figures.canvas import FONT_SIZE, add_legend, new_figure, set_title, wrap_label
from runlab.analysis.palette import MUTED
from runlab.extras.landscape.hidden import draw_hidden
from runlab.extras.landscape.maps import diameter, draw_map
from runlab.extras.landscape.result import Descended, Landscape


def landscape_figure(landscape: Landscape) -> Figure:
    """A map for each loss, one if both are the same; beneath, each arm's loss over its steps."""
    figure = new_figure(6.4)
    above = ["map 0", "map 0"] if landscape.one_loss else ["map 0", "map 1"]
    axes: dict[str, Any] = figure.subplot_mosaic(
        [above, ["hidden 0", "hidden 1"]],  # type: ignore[list-item]
        height_ratios=[1.7, 1],
    )
    for index, each in enumerate(landscape.arms):
        if f"map {index}" in axes:
            draw_map(figure, axes[f"map {index}"], landscape, each)
            set_title(axes[f"map {index}"], title(landscape, each), note(landscape, each))
        draw_hidden(axes[f"hidden {index}"], each)
        set_title(axes[f"hidden {index}"], f"Along the path of {wrap_label(each.arm, 30, 2)}")
    axes["hidden 0"].set_ylabel("loss on the same images", fontsize=FONT_SIZE)
    if "map 1" in axes:
        axes["map 1"].set_ylabel("")  # the planes are one
    explain(figure, landscape)
    return figure


def title(landscape: Landscape, each: Descended) -> str:
    return (
        "The loss surface of both"
        if landscape.one_loss
        else f"The loss surface of {wrap_label(each.arm, 30, 2)}"
    )


def note(landscape: Landscape, each: Descended) -> str:
    images = f"mean of {landscape.images:,} training images, seed {landscape.seed} (n = 1)"
    if math.isnan(each.share):
        return images
    return f"{images}\nof its −gradient at the start, {each.share:.0%} lies in the plane"


def explain(figure: Figure, landscape: Landscape) -> None:
    handles, labels = [], []
    for each in landscape.arms:
        style = each.style
        handles.append(Line2D([], [], color=style.color, linestyle=style.dashes, linewidth=1.6))
        labels.append(f"path of {wrap_label(each.arm, 34, 2)} (lr {each.run.learning_rate:g})")
    farthest = max(each.farthest for each in landscape.arms)
    for distance, words in (
        (0.0, "on the plane"),
        (farthest, f"{farthest:.2g} away from the plane"),
    ):
        size = diameter(distance, farthest)
        handles.append(Line2D([], [], linestyle="", marker="o", markersize=size, color=MUTED))
        labels.append(words)
    add_legend(figure, handles, labels)
