"""A sweep in TensorBoard: its runs, and beside them what is concluded from them."""

from losslab.dashboard.aggregates import aggregates_folder, write_aggregates

__all__ = ["aggregates_folder", "write_aggregates"]
