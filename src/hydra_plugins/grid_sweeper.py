"""Where Hydra looks for `hydra/sweeper=grid`: it is in runlab/sweeps/grid.py."""

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from runlab.sweeps.grid import GridSweeperMixin


class GridSweeper(GridSweeperMixin, BasicSweeper):
    pass
