"""What a stack can see of a component: its attributes as keys, equal for equal values.

A stack takes its operations from one run's modules and computes all runs by them. So whatever a
step reads has to be among the stack's inputs (parameters and buffers), or be a plain value that is
the same in all runs.
"""

import functools
import inspect
import sys
import types
from collections.abc import Hashable, Iterator
from contextlib import suppress
from enum import Enum
from pathlib import PurePath
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.core.mixins import HyperparametersMixin
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations
from torchmetrics import MeanMetric, Metric

from runlab.data import TensorData
from runlab.module import Module

OF_MODULE = vars(Module())
"""What `Module` itself keeps in its objects, network and loss among it."""

HELD_BY_MODULE = (set(OF_MODULE) - set(vars(nn.Module()))) | set(OF_MODULE["_modules"])
HELD_BY_MODULE -= {"network", "loss"}
"""That of it which is no part of a step: Lightning's, the engine's, and the metrics."""

HELD_BY_CLASS: tuple[tuple[type, set[str]], ...] = (
    (nn.Module, set(vars(nn.Module())) - {"training"}),
    (nn.RNNBase, {"_flat_weights", "_flat_weight_refs"}),  # it keeps them those of its parameters
    (L.LightningModule, set(vars(L.LightningModule())) - {"training"}),
    (Module, HELD_BY_MODULE),
    (Metric, set(vars(MeanMetric())) - {"training"}),
    (L.LightningDataModule, set(vars(L.LightningDataModule()))),
    (HyperparametersMixin, {"_hparams", "_hparams_initial", "_hparams_name"}),
    (TensorData, {"seed", "transform", "eval_transform"}),  # which say what samples come, and when
    (TensorData, {"_loaded", "_train", "_test"}),
)
"""What torch, Lightning, torchmetrics and the engine themselves keep in their objects."""

OF_RUN = {"config", "origin"}
"""Hyperparameters that the engine keeps."""

PARTS = OF_RUN | set(inspect.signature(Module.__init__).parameters)
"""Hyperparameters that are no part of a step, or are seen as attributes."""

EXACT = {
    *(bool, int, float, complex, str, bytes, type(None), type(...), range, slice),
    *(torch.dtype, torch.device, torch.memory_format, torch.layout),
}
"""Types of values that never change, and whose `repr` is another for another value."""

LIBRARIES = {"torch", "torchvision", "torchmetrics", "lightning", "numpy", "omegaconf", "jaxtyping"}
"""Packages whose modules and classes hold nothing of a run."""

TORCH_FUNCTIONS = {
    id(each) for room in (torch, nn.functional) for each in vars(room).values() if callable(each)
}


Settings = tuple[tuple[str, Hashable], ...]
"""Keys of settings, with readable names."""


class OpaqueError(Exception):
    """Something that a stack cannot see into; the message says what it is."""


def declares_stackable(component: object) -> bool:
    """Whether exactly its class says so: a subclass has to say it again."""
    return bool(vars(type(component)).get("stackable", False))


def is_part_of_step(name: str) -> bool:
    """Whether a module's parameter, buffer or submodule of that name is none of its metrics."""
    return name.partition(".")[0] not in HELD_BY_MODULE


def step_modules(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """A module and its submodules, by name, without its metrics."""
    return ((name, each) for name, each in module.named_modules() if is_part_of_step(name))


def module_key(module: Module, rate: str | None) -> Settings:
    """Classes and attributes of a module and its submodules: dropout rates, sizes, modes.

    Without the attribute `rate` of the module itself, of which a step then may make no use.

    Raises:
        OpaqueError: for an attribute that is no plain value, in a module whose class does not say
            `stackable = True`.
    """
    settings: list[tuple[str, Hashable]] = [hyperparameters_key(module, rate)]
    for path, each in step_modules(module):
        settings.append((f"its {possessive(path)}class", type_before_parametrizations(each)))
        settings += attributes_key(f"its {possessive(path)}", each)
    return tuple(setting for setting in settings if setting[0] != f"its {rate}")


def hyperparameters_key(module: Module, rate: str | None) -> tuple[str, Hashable]:
    """Of what `save_hyperparameters` keeps. Raises OpaqueError as above."""
    left_out = {*PARTS, rate}
    own = {name: value for name, value in module.hparams.items() if name not in left_out}
    try:
        return "its hparams", value_key(own)
    except OpaqueError as what:
        raise OpaqueError(f"one of its hparams {what}: a stack cannot see into it") from None


def possessive(path: str) -> str:
    """`loss's `, before an attribute's name; nothing for the module itself."""
    return f"{path}'s " if path else ""


def data_key(data: object) -> Settings:
    """Those of a data module, which prepares batches in a step. Raises OpaqueError as above."""
    return ("its data's class", type(data)), *attributes_key("its data's ", data)


def attributes_key(place: str, component: object) -> Settings:
    keys: list[tuple[str, Hashable]] = []
    for name, value in own_attributes(component).items():
        try:
            keys.append((place + name, value_key(value)))
        except OpaqueError as what:
            if not declares_stackable(component):
                raise OpaqueError(
                    f"{place}{name} {what}: a stack cannot see whether it is the same for all runs "
                    "and at each step (`stackable = True` in the class "
                    f"{type(component).__name__} says that it is)"
                ) from None
    return tuple(keys)


def find_other(settings: Settings, others: Settings) -> str:
    """The first setting that is another one, by its name."""
    values = dict(others)
    names = [name for name, value in settings if values.get(name, OpaqueError) != value]
    return [*names, *(name for name in values if name not in dict(settings)), "something"][0]


def plain_attributes(component: object) -> dict[str, Hashable]:
    """Keys of those that are plain values."""
    keys: dict[str, Hashable] = {}
    for name, value in own_attributes(component).items():
        with suppress(OpaqueError):
            keys[name] = value_key(value)
    return keys


def own_attributes(component: object) -> dict[str, Any]:
    """But for what torch, Lightning, torchmetrics and the engine keep in their own objects."""
    names = set(component._defaults) if isinstance(component, Metric) else set()
    for base, held in HELD_BY_CLASS:
        if isinstance(component, base):
            names |= held
    return {name: value for name, value in vars(component).items() if name not in names}


def surroundings(module: nn.Module) -> dict[str, Hashable]:
    """Keys of what a step may read besides attributes: what classes and their modules hold.

    Those of torch and other libraries are left out; of an object that is no plain value it is
    which one it is, and the plain values that it holds itself.
    """
    modules = [each for _, each in step_modules(module)]
    classes = {base for each in modules for base in type(each).__mro__ if is_own(base)}
    rooms: dict[str, Any] = {f"class {each.__qualname__}": each for each in classes}
    rooms |= {f"module {each.__module__}": sys.modules.get(each.__module__) for each in classes}
    return {
        f"{name} of the {place}": surrounding_key(value)
        for place, room in rooms.items()
        for name, value in list(getattr(room, "__dict__", {}).items())
        if not name.startswith("__")
    }


def is_own(kind: type) -> bool:
    """Whether it is of no library, so that what its code holds may be a run's."""
    package = kind.__module__.partition(".")[0]
    return package not in LIBRARIES and package not in sys.stdlib_module_names


def surrounding_key(value: Any) -> Hashable:
    with suppress(OpaqueError):
        return value_key(value)
    if isinstance(value, Tensor):
        return id(value), value._version
    held: list[Any] = []
    if isinstance(value, types.FunctionType):
        held = [*vars(value).items(), *cells(value)]
    elif not isinstance(value, type | types.ModuleType) and is_own(type(value)):
        held = list(getattr(value, "__dict__", {}).items())
    keys: list[Hashable] = [id(value)]
    for each in held:
        with suppress(OpaqueError):
            keys.append(value_key(each))
    return tuple(keys)


def cells(function: types.FunctionType) -> list[Any]:
    """What its closure holds; a variable that is not bound yet is left out."""
    values = []
    for cell in function.__closure__ or ():
        with suppress(ValueError):
            values.append(cell.cell_contents)
    return values


def value_key(value: Any) -> Hashable:
    """The same for the same value alone: neither for 1 and True nor for 0.0 and -0.0.

    Raises:
        OpaqueError: unless it is a number, text, None or the like, a function or class that its
            name leads to, or a tuple, list, set or dict of those.
    """
    kind = type(value)
    if kind in EXACT or isinstance(value, Enum | np.generic | PurePath):
        return kind, value.name if isinstance(value, Enum) else repr(value)
    if isinstance(value, ListConfig | DictConfig):
        return kind, value_key(OmegaConf.to_container(value, resolve=True))
    if kind in (list, tuple, torch.Size) or is_named_tuple(kind):
        return kind, tuple(map(value_key, value))
    if kind in (set, frozenset):
        return kind, frozenset(map(value_key, value))
    if kind is dict:
        return kind, tuple((value_key(key), value_key(each)) for key, each in value.items())
    if kind is functools.partial:
        return kind, value_key(value.func), value_key(value.args), value_key(value.keywords)
    if is_importable(value):
        return kind, id(value)
    raise OpaqueError(description(value))


def is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and kind.__bases__ == (tuple,) and hasattr(kind, "_fields")


def is_importable(value: Any) -> bool:
    """Whether it is a class or function that its name leads to, and that holds no data."""
    if id(value) in TORCH_FUNCTIONS:
        return True
    if isinstance(value, types.FunctionType):
        held = [value.__closure__, vars(value), value.__kwdefaults__, value.__defaults__]
        if any(held[:3]) or not all(type(each) in EXACT for each in value.__defaults__ or ()):
            return False
    elif not isinstance(value, type | types.BuiltinFunctionType | np.ufunc):
        return False
    found: Any = sys.modules.get(getattr(value, "__module__", None) or "numpy")
    for name in getattr(value, "__qualname__", value.__name__).split("."):
        found = getattr(found, name, None)
    return found is value


def description(value: Any) -> str:
    if isinstance(value, nn.Module):
        return f"is a {type(value).__name__} that is not among its modules"
    if isinstance(value, Tensor):
        return "is a tensor that is neither parameter nor buffer"
    if isinstance(value, types.FunctionType | types.MethodType):
        return "is a function that its name does not lead to, or that holds data"
    return f"is or holds a {type(value).__name__}"
