"""Where Hydra looks for `hydra/launcher=stacked`: it is in runlab/launchers/local.py."""

from hydra._internal.core_plugins.basic_launcher import BasicLauncher

from runlab.launchers.local import StackedLauncherMixin


class StackedLauncher(StackedLauncherMixin, BasicLauncher):
    pass
