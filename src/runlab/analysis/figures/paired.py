"""What one seed says of two arms, seed by seed."""

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from runlab.analysis.conclusions import better_first, turned_to_better
from runlab.analysis.figures.canvas import (
    FONT_SIZE,
    add_legend,
    apply_style,
    as_written,
    new_figure,
    set_title,
    wrap_label,
)
from runlab.analysis.figures.scales import tick_labels
from runlab.analysis.formatting import MINUS
from runlab.analysis.greys import INK, MUTED
from runlab.analysis.palette import Style, select_styles
from runlab.measure import Measure

MAX_PAIRS = 6
MAX_NAMED_SEEDS = 20
MAX_DRAWN_SEEDS = 1_000
"""With more, the dots are one picture within the figure: as shapes they would be most of a page."""
OUTLIER = 30
"""A difference this many times the median one makes the axis logarithmic."""

MARGIN_OPACITY = 0.22


def paired_figure(
    paired: pd.DataFrame,
    differences: pd.DataFrame,
    margin: float | None,
    measure: Measure,
    arm_styles: Mapping[str, Style],
) -> Figure | None:
    """A dot for each seed in the style of the arm that did better; below them, their mean.

    The mean has its 95% interval, by which a difference is judged, and as a thick bar its 90% one,
    by which equivalence is: where that lies within the grey band, the margin. Of more than six
    pairs in `differences` the first six are shown.
    """
    known = paired.dropna(subset="difference")
    named = set(zip(known["arm"], known["other"], strict=True))
    pairs = [row for _, row in differences.iterrows() if (row["arm"], row["other"]) in named]
    if not pairs:
        return None
    shown = pairs[:MAX_PAIRS]
    points = [known[(known["arm"] == p["arm"]) & (known["other"] == p["other"])] for p in shown]
    points = [_turned(own, row) for own, row in zip(points, shown, strict=True)]
    shown = [turned_to_better(row) for row in shown]
    shown_styles = select_styles(pd.concat([paired["arm"], paired["other"]]), arm_styles)
    titles = [_title(row, 28 if len(shown) > 1 else 90) for row in shown]
    figure, panels = _panels(titles, max(map(len, points)))
    for axes, title, row, own in zip(panels, titles, shown, points, strict=True):
        _draw_pair(axes, row, own, shown_styles, measure, margin)
        set_title(axes, title)
        if margin is not None:
            axes.axvspan(-margin, margin, color=MUTED, alpha=MARGIN_OPACITY, linewidth=0, zorder=0)
    _scale(panels, pd.concat(points)["difference"])
    _add_legend(figure, pd.concat(points), shown_styles, margin, measure)
    direction = as_written(_direction(measure, len(pairs)))
    figure.supxlabel(direction, fontsize=FONT_SIZE + 1, color=INK)
    return figure


def _turned(own: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    """The differences of the seeds with the better arm first, as the conclusion has them."""
    arm, other = better_first(row)
    sign = 1 if arm == row["arm"] else -1
    return own.assign(arm=arm, other=other, difference=sign * own["difference"])


def _title(row: pd.Series, width: int) -> str:
    arm, other = wrap_label(row["arm"], width), wrap_label(row["other"], width - 2)
    fits = len(arm) + len(other) + 3 <= width and "\n" not in arm + other
    return f"{arm} {MINUS} {other}" if fits else f"{arm}\n{MINUS} {other}"


def _panels(titles: list[str], seeds: int) -> tuple[Figure, list[Axes]]:
    pairs, lines = len(titles), max(title.count("\n") + 1 for title in titles)
    columns = 2 if pairs == 4 else min(3, pairs)
    rows = math.ceil(pairs / columns)
    figure = new_figure(0.4 + rows * (0.8 + 0.14 * lines + 0.12 * min(seeds, MAX_NAMED_SEEDS)))
    grid = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
    for axes in grid[pairs:]:
        axes.remove()
    for axes in grid[:pairs]:
        axes.tick_params(labelbottom=True)
    return figure, grid[:pairs]


def _draw_pair(
    axes: Axes, row: pd.Series, own: pd.DataFrame, arm_styles: Mapping[str, Style],
    measure: Measure, margin: float | None,
) -> None:  # fmt: skip
    own = own.sort_values("seed", ignore_index=True)
    as_picture = len(own) > MAX_DRAWN_SEEDS
    axes.axvline(0, color=INK, linewidth=0.8)
    for arm, style in arm_styles.items():
        better = own[_winner(own, measure) == arm]
        axes.plot(better["difference"], better.index, ls="", marker=style.marker, color=style.color,
                  ms=5, rasterized=as_picture)  # fmt: skip
    equal = own[own["difference"] == 0]
    axes.plot(equal["difference"], equal.index, ls="", marker="o", color=MUTED, ms=5,
              rasterized=as_picture)  # fmt: skip
    _draw_mean(axes, row, len(own), margin)
    _name_seeds(axes, own)
    apply_style(axes, "x")


def _winner(own: pd.DataFrame, measure: Measure) -> pd.Series:
    """The arm that did better at each seed; neither where both did alike."""
    gain = own["difference"] if measure.higher_is_better else -own["difference"]
    return own["arm"].where(gain > 0, own["other"]).where(gain != 0, "")


def _draw_mean(axes: Axes, row: pd.Series, seeds: int, margin: float | None) -> None:
    where = seeds + _gap(seeds)
    ends = [row["low"], row["high"]]
    axes.plot(ends, [where, where], color=INK, linewidth=1)
    if margin is not None:  # by that interval equivalence is judged
        ends = [row["equivalence_low"], row["equivalence_high"]]
        axes.plot(ends, [where, where], color=INK, linewidth=3)
    axes.plot(row["difference"], where, marker="D", color=INK, ms=6)
    axes.set_ylim(where + _gap(seeds), -_gap(seeds))


def _gap(seeds: int) -> float:
    return max(0.8, 0.05 * seeds)


def _name_seeds(axes: Axes, own: pd.DataFrame) -> None:
    named = own["seed"].tolist() if len(own) <= MAX_NAMED_SEEDS else []
    mean = len(own) + _gap(len(own))
    axes.set_yticks([*range(len(named)), mean], [*map(str, named), "mean"])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylabel(f"seed (n = {len(own)})")


def _scale(panels: list[Axes], differences: pd.Series) -> None:
    """Linear; but where one diverged run dwarfs the others, logarithmic away from zero."""
    usual, reach = float(differences.abs().median()), float(differences.abs().max())
    powers = [10.0**exponent for exponent in range(-6, 7) if 10.0**exponent > usual]
    for axes in panels:
        if usual > 0 and reach > OUTLIER * usual:
            axes.set_xscale("symlog", linthresh=usual)
            ticks = [*(-power for power in powers), 0.0, *powers]
            low, high = axes.get_xlim()
            labels = tick_labels(tick for tick in ticks if low <= tick <= high)
            axes.set_xticks(list(labels), list(labels.values()))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5))


def _add_legend(
    figure: Figure, points: pd.DataFrame, arm_styles: Mapping[str, Style], margin: float | None,
    measure: Measure,
) -> None:  # fmt: skip
    winners = select_styles(set(_winner(points, measure)) - {""}, arm_styles)
    handles: list[Line2D | Patch] = [
        Line2D([], [], ls="", marker=style.marker, color=style.color, ms=5)
        for style in winners.values()
    ]
    labels = [wrap_label(f"{arm} is better", 84, 2) for arm in winners]
    handles.append(
        Line2D([], [], color=INK, marker="D", ms=6, linewidth=1 if margin is None else 3)
    )
    labels.append("mean, 95% interval" if margin is None else "mean, 95% and 90% intervals")
    if margin is not None:
        handles.append(Patch(color=MUTED, alpha=MARGIN_OPACITY, linewidth=0))
        unit = f" {measure.difference_unit}" if measure.difference_unit else ""
        labels.append(as_written(f"within ±{margin:g}{unit}"))
    add_legend(figure, handles, labels)


def _direction(measure: Measure, pairs: int) -> str:
    unit = f", {measure.difference_unit}" if measure.difference_unit else ""
    side = "right" if measure.higher_is_better else "left"
    more = f"\nthe first {MAX_PAIRS} of {pairs} pairs" if pairs > MAX_PAIRS else ""
    return f"difference in test {measure.title}{unit} ({side} of 0: the first is better){more}"
