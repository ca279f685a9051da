"""The figures of a comparison, in the order in which the page tells them."""

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from runlab.analysis.figures.confusion import confusion_figure
from runlab.analysis.figures.gradients import gradients_figure
from runlab.analysis.figures.grid import grid_figure
from runlab.analysis.figures.learning_curves import learning_curves_figure
from runlab.analysis.figures.paired import paired_figure
from runlab.analysis.figures.reliability import reliability_figure
from runlab.analysis.figures.sensitivity import sensitivity_figure

if TYPE_CHECKING:
    from runlab.analysis.comparison import Comparison

__all__ = [
    "ALT_TEXTS",
    "all_figures",
    "confusion_figure",
    "gradients_figure",
    "grid_figure",
    "learning_curves_figure",
    "paired_figure",
    "reliability_figure",
    "sensitivity_figure",
]


ALT_TEXTS = {
    "sensitivity": "Validation score against learning rate, a line for each arm",
    "learning_curves": "Validation score and NLL against epochs, a line for each arm",
    "paired": "Difference between two arms for each seed, with mean and interval",
    "reliability": "Accuracy against confidence, a diagram for each arm",
    "confusion": "Errors by true and predicted class, a matrix for each arm",
    "grid": "Mean validation score of every cell",
    "gradients": "How hard images pull at the network's outputs, for each arm",
    "landscape": "The loss on a plane through the start and the ends of training",
}


def all_figures(comparison: "Comparison") -> dict[str, Figure | None]:
    """By name; None where the sweep has nothing to show."""
    tables, measure, looks = comparison, comparison.measure, comparison.looks
    return {
        "sensitivity": sensitivity_figure(tables.cells, measure, looks),
        "learning_curves": learning_curves_figure(tables.curves, measure, looks),
        "paired": paired_figure(tables.paired, tables.differences, tables.margin, measure, looks),
        "reliability": reliability_figure(tables.reliability, tables.arms, looks),
        "confusion": confusion_figure(tables.confusion),
        "grid": grid_figure(tables.cells, measure),
        "gradients": gradients_figure(tables.curves, tables.arms, looks),
    }
