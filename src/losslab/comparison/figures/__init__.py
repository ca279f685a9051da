"""The figures of a comparison, in the order in which the page tells them."""

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from losslab.comparison.figures.confusion import confusion_figure
from losslab.comparison.figures.gradients import gradients_figure
from losslab.comparison.figures.grid import grid_figure
from losslab.comparison.figures.learning_curves import learning_curves_figure
from losslab.comparison.figures.paired import paired_figure
from losslab.comparison.figures.reliability import reliability_figure
from losslab.comparison.figures.sensitivity import sensitivity_figure

if TYPE_CHECKING:
    from losslab.comparison.comparison import Comparison

__all__ = [
    "all_figures",
    "confusion_figure",
    "gradients_figure",
    "grid_figure",
    "learning_curves_figure",
    "paired_figure",
    "reliability_figure",
    "sensitivity_figure",
]


def all_figures(comparison: "Comparison") -> dict[str, Figure]:
    """By name; one for which the sweep has nothing to show is left out."""
    tables, measure = comparison, comparison.measure
    figures = {
        "sensitivity": sensitivity_figure(tables.cells, measure),
        "learning_curves": learning_curves_figure(tables.curves, measure),
        "paired": paired_figure(tables.paired, tables.differences, tables.margin, measure),
        "reliability": reliability_figure(tables.reliability, tables.arms),
        "confusion": confusion_figure(tables.confusion),
        "grid": grid_figure(tables.cells, measure),
        "gradients": gradients_figure(tables.curves, tables.arms),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}
