"""What a sweep says: tables, figure and statistics, read from its run records."""

from losslab.comparison.comparison import Comparison, compare
from losslab.comparison.runs import load

__all__ = ["Comparison", "compare", "load"]
