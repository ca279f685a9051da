"""What a sweep says: tables, figures and statistics, read from what its runs left."""

from runlab.analysis.comparison import Comparison, compare
from runlab.analysis.measure import ACCURACY, MEASURES, Measure
from runlab.analysis.runs import load

__all__ = ["ACCURACY", "MEASURES", "Comparison", "Measure", "compare", "load"]
