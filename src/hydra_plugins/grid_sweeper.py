"""Where Hydra looks for `hydra/sweeper=grid`; the sweeper itself is in runlab."""

from runlab.sweeps import grid


class GridSweeper(grid.GridSweeper):
    pass
