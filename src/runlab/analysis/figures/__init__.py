"""The figures that every comparison has."""

from runlab.analysis.figures.grid import grid_figure
from runlab.analysis.figures.learning_curves import learning_curves_figure
from runlab.analysis.figures.paired import paired_figure
from runlab.analysis.figures.sensitivity import sensitivity_figure

__all__ = ["grid_figure", "learning_curves_figure", "paired_figure", "sensitivity_figure"]
