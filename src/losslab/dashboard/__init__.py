"""Sweeps in TensorBoard: their runs, and beside them what is concluded from them."""

from losslab.dashboard.aggregates import aggregates_folder, write_aggregates
from losslab.dashboard.dashboard import Dashboard
from losslab.dashboard.rebuild import rebuild
from losslab.dashboard.sweeps import newest

__all__ = ["Dashboard", "aggregates_folder", "newest", "rebuild", "write_aggregates"]
