"""Two loss surfaces on one plane with both paths, and beneath them what the plane does not show."""

import math
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from runlab.analysis.figures.canvas import (
    FONT_SIZE,
    add_legend,
    apply_style,
    as_written,
    new_figure,
    set_title,
    wrap_label,
)
from runlab.analysis.figures.scales import logarithmic_ticks, scale_positive
from runlab.analysis.greys import INK, MUTED, PAPER
from runlab.extras.landscape.landscape import ArmResult, Landscape

LEVELS = 15
SLATE = to_rgb("#5b6770")
# The ground shines through, so that ink and the arms' colours stand out on it, light or dark.
MAP = LinearSegmentedColormap.from_list("slate", [(*SLATE, 0.02), (*SLATE, 0.75)])
HALO = [withStroke(linewidth=2.4, foreground=PAPER)]
CIRCLES = 11
MAP_POINTS, LABEL_POINTS = 185, 52
"""Widths in points of a map, about, and of the label of the arrow."""

Side = Literal["left", "right", "center"]
SMALLEST, LARGEST = 2.2, 9.0
"""Diameters in points of a circle on the plane, and of the one farthest from it."""


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
    add_path_legend(figure, landscape)
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


def add_path_legend(figure: Figure, landscape: Landscape) -> None:
    handles, labels = [], []
    for each in landscape.arms:
        style = each.style
        handles.append(Line2D([], [], color=style.color, ls=style.dashes, linewidth=1.6))
        rate = each.run.rate
        chosen = "" if rate is None else f" ({rate.short} {each.run.learning_rate:g})"
        labels.append(f"path of {wrap_label(each.arm, 34, 2)}{as_written(chosen)}")
    largest_distance = max(each.largest_distance for each in landscape.arms)
    for distance, words in (
        (0.0, "on the plane"),
        (largest_distance, f"{largest_distance:.2g} away from the plane"),
    ):
        size = diameter(distance, largest_distance)
        handles.append(Line2D([], [], linestyle="", marker="o", markersize=size, color=MUTED))
        labels.append(words)
    add_legend(figure, handles, labels)


# A surface from above, and the paths on it


def draw_map(figure: Figure, axes: Axes, landscape: Landscape, shown: ArmResult) -> None:
    """The surface of one arm's loss, both arms' paths on it, and its −gradient at the start."""
    apply_style(axes, grid=None)
    a, b = landscape.a, landscape.b
    axes.set(xlim=(a[0], a[-1]), ylim=(b[0], b[-1]), aspect="equal")
    axes.locator_params(nbins=6)
    draw_surface(figure, axes, landscape, shown)
    largest_distance = max(each.largest_distance for each in landscape.arms)
    for each in landscape.arms:
        draw_path(axes, each, largest_distance)
    draw_negative_gradient(axes, landscape, shown)
    draw_endpoints(axes, landscape)
    first, second = (wrap_label(each.arm, 24, 2) for each in landscape.arms)
    axes.set_xlabel(f"distance in weight space towards\nthe end of {first}", fontsize=FONT_SIZE)
    axes.set_ylabel(f"at right angles, towards\nthe end of {second}", fontsize=FONT_SIZE)


def draw_surface(figure: Figure, axes: Axes, landscape: Landscape, shown: ArmResult) -> None:
    values = np.ma.masked_invalid(shown.surface)
    levels = contour_levels(values)
    norm = LogNorm(levels[0], levels[-1])
    where = landscape.a, landscape.b, values.clip(levels[0], levels[-1])
    filled = axes.contourf(*where, levels=levels, norm=norm, cmap=MAP, antialiased=False)
    axes.contour(*where, levels=levels, colors=MUTED, linewidths=0.3)
    # an inset, since a bar of its own would be as high as the place, not as the map
    bar = figure.colorbar(filled, cax=axes.inset_axes((1.03, 0, 0.04, 1)))
    bar.ax.set_facecolor("none")
    bar.outline.set_visible(False)
    ticks = logarithmic_ticks(float(levels[0]), float(levels[-1]))
    bar.ax.yaxis.set_major_locator(FixedLocator(ticks))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(color=MUTED, labelcolor=INK, labelsize=FONT_SIZE - 1)


def contour_levels(values: np.ma.MaskedArray) -> NDArray[np.float64]:
    """Levels at equal ratios, from the lowest to the highest loss that is finite and positive."""
    positive = np.ma.masked_less_equal(values, 0).compressed()
    if not positive.size:
        return np.array([1.0, 2.0])
    low, high = positive.min(), positive.max()
    return np.geomspace(low, high if high > low else 2 * low, LEVELS)


def draw_path(axes: Axes, each: ArmResult, largest_distance: float) -> None:
    """A line through all snapshots; on it circles, the larger the farther from the plane."""
    a, b, off = (each.path[column].to_numpy() for column in ("a", "b", "off_plane"))
    axes.plot(a, b, color=PAPER, linewidth=3)
    axes.plot(a, b, color=each.style.color, linestyle=each.style.dashes, linewidth=1.5)
    at = circle_indices(a, b)
    axes.scatter(
        a[at], b[at], s=[diameter(distance, largest_distance) ** 2 for distance in off[at]],
        color=each.style.color, edgecolors=PAPER, linewidths=0.5, zorder=3,
    )  # fmt: skip


def circle_indices(a: NDArray[np.float64], b: NDArray[np.float64]) -> list[int]:
    """Snapshots about equally far from each other along the path, the first and last included."""
    travelled = np.concatenate([[0], np.hypot(np.diff(a), np.diff(b)).cumsum()])
    targets = np.linspace(0, travelled[-1], CIRCLES)
    return sorted({int(np.abs(travelled - target).argmin()) for target in targets})


def diameter(distance: float, largest_distance: float) -> float:
    share = distance / largest_distance if largest_distance > 0 else 0.0
    return SMALLEST + share * (LARGEST - SMALLEST)


def draw_negative_gradient(axes: Axes, landscape: Landscape, shown: ArmResult) -> None:
    """An arrow of fixed length: the direction is measured, the length says nothing."""
    norm = math.hypot(*shown.gradient_in_plane)
    if not (math.isfinite(norm) and norm > 0):
        return
    length = 0.2 * float(landscape.a[-1] - landscape.a[0])
    tip = (shown.gradient_in_plane[0] / norm * length, shown.gradient_in_plane[1] / norm * length)
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.1, "path_effects": HALO}
    axes.annotate("", tip, (0, 0), arrowprops=arrow | {"shrinkA": 0, "shrinkB": 0})
    label(axes, "−gradient", tip, *free_side(tip, landscape))


def free_side(tip: tuple[float, float], landscape: Landscape) -> tuple[tuple[float, float], Side]:
    """Where beside the tip a label is farthest from both paths: its offset in points, and side."""
    paths = np.concatenate([each.path[["a", "b"]].to_numpy() for each in landscape.arms])
    unit = float(landscape.a[-1] - landscape.a[0]) / MAP_POINTS
    distances: dict[tuple[tuple[float, float], Side], float] = {}
    for side, reach in (("left", (0, LABEL_POINTS)), ("right", (-LABEL_POINTS, 0))):
        for offset in ((5.0, 4.0), (5.0, -4.0), (5.0, 16.0), (5.0, -16.0)):
            moved = (offset[0] if side == "left" else -offset[0], offset[1])
            middle = moved[1] + math.copysign(4, moved[1])  # of the letters
            spots = [(moved[0] + share, middle) for share in np.linspace(*reach, 5)]
            gaps = np.array(tip) + unit * np.array(spots)[:, None] - paths
            distances[moved, side] = float(np.nanmin(np.linalg.norm(gaps, axis=-1)))  # type: ignore[index]
    return max(distances, key=distances.__getitem__)


def draw_endpoints(axes: Axes, landscape: Landscape) -> None:
    axes.plot(0, 0, marker="o", markersize=6, color=PAPER, markeredgecolor=INK, zorder=4)
    label(axes, "start", (0, 0), (0, -6))
    for each, above in zip(landscape.arms, (-7, 7), strict=True):  # where their paths do not pass
        axes.plot(
            *each.end, marker=each.style.marker, markersize=8, color=each.style.color,
            markeredgecolor=INK, zorder=4,
        )  # fmt: skip
        at_edge = each.end[0] > np.quantile(landscape.a, 0.75)
        side: Side = "right" if at_edge else "center"
        name = f"end of\n{wrap_label(each.arm, 16, 2)}"
        label(axes, name, each.end, (14 if at_edge else 0, above), side)


def label(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    offset: tuple[float, float],
    side: Side = "center",
) -> None:
    """Above the place or below it, by the offset in points."""
    axes.annotate(
        text, at, offset, textcoords="offset points", color=INK, fontsize=FONT_SIZE - 0.5, ha=side,
        va="bottom" if offset[1] > 0 else "top", path_effects=HALO, zorder=5,
    )  # fmt: skip


# The loss along a path


def plot_off_plane_loss(axes: Axes, each: ArmResult) -> None:
    """The loss along a path, and at the nearest point on the plane, over optimizer steps.

    The axis is logarithmic from step 1 on; the start is step 0.
    """
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
