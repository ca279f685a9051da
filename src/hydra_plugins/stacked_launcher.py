"""Where Hydra looks for `hydra/launcher=stacked`; the launcher itself is in runlab."""

from runlab.sweeps import stacked


class StackedLauncher(stacked.StackedLauncher):
    pass
