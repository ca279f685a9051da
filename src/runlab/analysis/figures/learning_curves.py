"""How fast and how steadily each arm learns at its chosen learning rate."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from runlab.analysis.figures.canvas import blank, fitted, legend, tidy
from runlab.analysis.figures.curve import draw_curve, early_ends, is_known
from runlab.analysis.figures.scales import scale_measure
from runlab.analysis.measure import ACCURACY, MEASURES, Measure
from runlab.analysis.palette import MUTED, Looks, styles


def learning_curves_figure(
    curves: pd.DataFrame, measure: Measure, looks: Looks | None = None
) -> Figure | None:
    """The measure against epochs, and NLL beside it: unlike a loss, it has one unit for all arms.

    Where the measure is NLL itself, accuracy is beside it.
    """
    other = ACCURACY if measure.name == "nll" else MEASURES["nll"]
    panels = [panel for panel in (measure, other) if is_known(curves, f"val/{panel.name}")]
    if not panels:
        return None
    figure = blank(2.9)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_panel(axes, curves, panel, looks)
    explain_curves(figure, curves, looks)
    return figure


def _draw_panel(axes: Axes, curves: pd.DataFrame, measure: Measure, looks: Looks | None) -> None:
    column = f"val/{measure.name}"
    seen: list[float] = []
    for arm, style in styles(curves["arm"], looks).items():
        table = draw_curve(axes, curves[curves["arm"] == arm], column, style)
        seen += [*table["low"], *table["high"]]
    scale_measure(axes, seen, measure, "validation")
    scale_epochs(axes)
    tidy(axes)


def scale_epochs(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlim(left=0)
    axes.set_xlabel("epoch")


def explain_curves(figure: Figure, curves: pd.DataFrame, looks: Looks | None) -> None:
    """A legend with each arm's learning rate and number of runs; × only where a run ended early."""
    handles: list[Line2D | Patch] = []
    labels = []
    for arm, style in styles(curves["arm"], looks).items():
        own = curves[curves["arm"] == arm]
        handles.append(
            Line2D([], [], color=style.color, ls=style.dashes, marker=style.marker, ms=4)
        )
        rate, n = own["learning_rate"].iloc[0], own["run"].nunique()
        labels.append(fitted(f"{arm} (learning rate {rate:g}, n\N{NBSP}=\N{NBSP}{n})", 84, 2))
    if curves.groupby("arm")["run"].nunique().max() > 1:
        handles.append(Patch(color=MUTED, alpha=0.3, linewidth=0))
        labels.append("±1 sd over seeds, within their range")
    if any(not early_ends(own).empty for _, own in curves.groupby("arm")):
        handles.append(Line2D([], [], color=MUTED, marker="x", ls="", ms=6, mew=1.6))
        labels.append("a run ended; from there, the mean of the rest")
    legend(figure, handles, labels)
