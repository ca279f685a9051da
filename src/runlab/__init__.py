"""The engine behind the template: runs that survive, blocks and stacks, sweeps, comparison."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runlab.blocks.sampler import EpochSampler as EpochSampler
    from runlab.config.targets import configurable as configurable
    from runlab.data import Content as Content
    from runlab.data import TensorData as TensorData
    from runlab.measure import Measure as Measure
    from runlab.module import Module as Module

__version__ = "0.2.0"

_HOMES = {
    "Content": "runlab.data",
    "EpochSampler": "runlab.blocks.sampler",
    "Measure": "runlab.measure",
    "Module": "runlab.module",
    "TensorData": "runlab.data",
    "configurable": "runlab.config.targets",
}
"""Where what one derives from is; imported when asked for, as torch takes seconds."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module runlab has no attribute {name}")
    return getattr(import_module(_HOMES[name]), name)
