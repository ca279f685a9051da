"""What a sweep says: tables, figures and statistics, read from what its runs left."""

from losslab.comparison.comparison import Comparison, compare
from losslab.comparison.measure import ACCURACY, MEASURES, Measure
from losslab.comparison.runs import load

__all__ = ["ACCURACY", "MEASURES", "Comparison", "Measure", "compare", "load"]
