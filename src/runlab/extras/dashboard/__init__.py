"""Sweeps in TensorBoard: their runs, and beside them what is concluded from them."""

from runlab.extras.dashboard.aggregates import aggregates_folder, write_aggregates
from runlab.extras.dashboard.dashboard import Dashboard
from runlab.extras.dashboard.rebuild import rebuild
from runlab.extras.dashboard.sweeps import newest

__all__ = ["Dashboard", "aggregates_folder", "newest", "rebuild", "write_aggregates"]
