"""Where Hydra looks for `hydra/launcher=stacked`: it is in runlab/sweeps/stacked.py."""

from hydra._internal.core_plugins.basic_launcher import BasicLauncher

from runlab.sweeps.stacked import StackedLauncherMixin


class StackedLauncher(StackedLauncherMixin, BasicLauncher):
    pass
