"""What a sweep says: tables, figures and statistics, read from what its runs left."""

from losslab.comparison.comparison import Comparison, compare
from losslab.comparison.measure import MEASURES, Measure
from losslab.comparison.runs import load

__all__ = ["MEASURES", "Comparison", "Measure", "compare", "load"]
