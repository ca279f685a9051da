"""Whether a confidence of 90% is right nine times in ten."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from runlab.analysis.figures.canvas import blank, entitle, fitted, tidy
from runlab.analysis.palette import LINES, MUTED, Looks, Style, styles
from runlab.analysis.wording import number

COLUMNS = 3


def reliability_figure(
    reliability: pd.DataFrame, arms: pd.DataFrame, looks: Looks | None = None
) -> Figure | None:
    """Accuracy against confidence in bins, an axes an arm; below, the share of images in each bin.

    The band is Student's 95% interval over runs. What lies under the diagonal is overconfident.
    """
    if reliability.empty:
        return None
    looks = styles(reliability["arm"], looks)
    columns = min(COLUMNS, len(looks))
    rows = math.ceil(len(looks) / columns)
    titles = [_titles(arm, arms, {1: 90, 2: 44, 3: 27}[columns]) for arm in looks]
    lines = max(title.count("\n") + note.count("\n") + 2 for title, note in titles)
    figure = blank(rows * ({1: 3.8, 2: 3.4, 3: 2.7}[columns] + 0.14 * lines))
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[3.2, 1] * rows)
    panels = list(zip(grid[0::2].flat, grid[1::2].flat, strict=True))
    for (diagram, shares), title, (arm, look) in zip(panels, titles, looks.items(), strict=False):
        own = reliability[reliability["arm"] == arm].sort_values("bin_low")
        _draw_diagram(diagram, own, look)
        _draw_shares(shares, own, look)
        entitle(diagram, *title)
    for diagram, shares in panels[::columns]:
        diagram.set_ylabel("accuracy")
        shares.set_ylabel("% of\nimages")
    for axes in (axes for panel in panels[len(looks) :] for axes in panel):
        axes.remove()
    return figure


def _titles(arm: str, arms: pd.DataFrame, width: int) -> tuple[str, str]:
    """The arm; then its expected calibration error and how its outputs become probabilities."""
    row = arms[arms["arm"] == arm].iloc[0]
    ece = f"ECE {number(row['test_ece'], 4)}"
    if not math.isnan(row["test_ece_low"]):
        ece += f" [{number(row['test_ece_low'], 4)}, {number(row['test_ece_high'], 4)}]"
    mapping = fitted(row["mapping"], width + 4) if row["mapping"] else ""
    return fitted(arm, width), "\n".join(filter(None, (ece, mapping)))


def _draw_diagram(axes: Axes, own: pd.DataFrame, look: Style) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    low, high = own["accuracy_low"].clip(lower=0), own["accuracy_high"].clip(upper=1)
    axes.fill_between(own["confidence"], low, high, color=look.color, alpha=0.2, linewidth=0)
    axes.plot(own["confidence"], own["accuracy"], color=look.color, ls=look.dashes,
              marker=look.marker, ms=4, linewidth=1.4)  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.tick_params(labelbottom=False)
    tidy(axes, "both")


def _draw_shares(axes: Axes, own: pd.DataFrame, look: Style) -> None:
    share = 100 * own["images"] / own["images"].sum()
    axes.bar(own["bin_low"], share, own["bin_high"] - own["bin_low"], align="edge",
             color=look.color, alpha=0.55, edgecolor=LINES, linewidth=0.5)  # fmt: skip
    axes.set_yscale("log")
    axes.set(xlim=(0, 1), ylim=(min(share.min() / 2, 0.1), 150))
    axes.yaxis.set_major_locator(LogLocator(numticks=4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("confidence")
    tidy(axes)
