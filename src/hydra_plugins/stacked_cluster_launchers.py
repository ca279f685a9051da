"""Where Hydra looks for `stacked_slurm` and `stacked_ray`: they are in runlab/launchers."""

from hydra._internal.core_plugins.basic_launcher import BasicLauncher

from runlab.launchers.cluster import StackedSubmititMixin
from runlab.launchers.ray import StackedRayMixin


class StackedSubmititLauncher(StackedSubmititMixin, BasicLauncher):
    pass


class StackedRayLauncher(StackedRayMixin, BasicLauncher):
    pass
