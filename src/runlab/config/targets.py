"""What a configuration that was received, in a checkpoint or a run.json, may name; building it.

Such a file may come from anywhere. So what it names is looked up first, and called only if it is
what its place demands: a class derived from the place's base, or a function that was written for
this. Nothing in the file can add to that; who runs a command can, by the environment variable
RUNLAB_TRUST.

The configuration of one's own command line is built as it is.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from inspect import signature
from types import FunctionType, ModuleType
from typing import Any, TypeVar

TRUST = "RUNLAB_TRUST"
"""An environment variable: what may be named too, as `my_package,other.function,/data/weights`."""

BASES: Mapping[str, str] = {
    "module": "lightning.LightningModule",
    "data": "lightning.LightningDataModule",
    "model": "torch.nn.Module",
    "loss": "torch.nn.Module",
    "optimizer": "torch.optim.Optimizer",
    "scheduler": "torch.optim.lr_scheduler.LRScheduler",
    "metric": "torchmetrics.Metric",
    "callback": "lightning.Callback",
    "logger": "lightning.pytorch.loggers.Logger",
    "trainer": "lightning.Trainer",
}
"""Of what each place builds; those of `SEVERAL` hold several, by name."""

SEVERAL = ("metric", "callback", "logger")
OPTIONAL = ("scheduler", *SEVERAL)

PARTS = (
    *(base for place, base in BASES.items() if place != "trainer"),
    "lightning.pytorch.profilers.Profiler",
    "lightning.pytorch.strategies.Strategy",
    "lightning.pytorch.accelerators.Accelerator",
    "lightning.pytorch.plugins.Precision",
    "lightning.pytorch.plugins.CheckpointIO",
    "lightning.pytorch.plugins.LayerSync",
    "lightning.pytorch.plugins.environments.ClusterEnvironment",
)
"""Bases of what may be a parameter of something else, at any depth."""

FETCHING = "torchvision.models"
"""Whose functions fetch weights, where they are asked for some."""

MODULES = (FETCHING, "torchvision.transforms", "torch.nn.functional")
"""Whose functions, and classes of whatever base, may be named too."""

OBJECTS = ("torch.tensor", "datetime.timedelta")
"""And these alone of their modules."""

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch.nn", "torch.optim"),
    "torchvision": ("torchvision.models", "torchvision.ops", "torchvision.transforms"),
    "torchmetrics": tuple(
        f"torchmetrics.{each}" for each in ("aggregation", "classification", "regression")
    ),
    **{
        package: tuple(
            f"{package}.{each}"
            for each in (
                *("accelerators", "callbacks", "core", "loggers", "plugins", "profilers"),
                *("strategies", "trainer"),
            )
        )
        for package in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning")
    },
}
"""Packages of which only these modules' classes may be named: others load pickles, or fetch."""

NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
DEEPEST = 50

Function = TypeVar("Function", bound=Callable[..., Any])


def configurable(function: Function) -> Function:
    """Says that a function may be named by a received configuration, as a class of its base may.

    It is then called with whatever parameters the file has.
    """
    function.configurable = True  # type: ignore[attr-defined]
    return function


def require_targets(key: str, node: Any, place: str) -> None:
    """Raises ValueError unless all that is named in a node may be. Nothing is called."""
    if key in OPTIONAL and (node is None or node == {}):
        return
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ValueError(f"expected {key} with a _target_, got {shown(node)}")
    for where, value in walk(node, key):
        if isinstance(value, str) and "://" in value and not is_trusted_place(value):
            raise ValueError(
                f"expected no address in {where}, got {shown(value)}: a file from elsewhere is "
                f"connected to none; set {TRUST} to it to allow it"
            )
        if isinstance(value, Mapping) and "_target_" in value:
            bases = (BASES[place],) if where == key else PARTS
            target = find(f"{where}._target_", value["_target_"], *bases)
            for fetched in fetched_weights(target, value):
                raise ValueError(
                    f"expected {where}.{fetched}=null, got {shown(value.get(fetched, 'none'))}: "
                    "for a file from elsewhere no weights are fetched; set "
                    f"{TRUST}={FETCHING} to allow it"
                )


def fetched_weights(target: Any, node: Mapping[str, Any]) -> list[str]:
    """The parameters by which a network of torchvision would fetch its weights from a server."""
    if not is_of(target, (FETCHING,)) or not isinstance(target, FunctionType):
        return []
    if is_trusted(FETCHING):
        return []
    defaults = {name: each.default for name, each in signature(target).parameters.items()}
    if target.__name__ == "get_model":
        builder = import_module(FETCHING).get_model_builder(str(node.get("name")))
        defaults = {name: each.default for name, each in signature(builder).parameters.items()}
    names = {n for n in {*defaults, *map(str, node)} if n.startswith(("weights", "pretrained"))}
    return sorted(n for n in names if node.get(n, defaults.get(n)) not in (None, False))


def without_fetching(node: Any) -> Any:
    """The node, whose networks fetch no weights: those of a checkpoint replace them all."""
    if isinstance(node, list):
        return [without_fetching(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    children = {key: without_fetching(child) for key, child in node.items()}
    if str(node.get("_target_")).startswith(f"{FETCHING}."):
        fetched = fetched_weights(find("_target_", node["_target_"]), node)
        kept = {key: child for key, child in children.items() if key not in fetched}
        return kept | dict.fromkeys(each for each in fetched if each.startswith("weights"))
    return children


def find(key: str, name: Any, *bases: str | type, strictly: bool = False) -> Any:
    """The class or function of this dotted name, which may be used where one of `bases` is wanted.

    It is imported, which runs its module's code, and not called.

    Args:
        key: where it is named, for the message.
        bases: classes, or their dotted names; none where only functions are wanted.
        strictly: whether it has to be a class of a base, or without bases a function that is
            marked, and nothing of `MODULES` and `OBJECTS`: these are for what a run is built of.

    Raises:
        ValueError: for anything else, and for what cannot be imported.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name) or "__" in name:
        raise ValueError(f"expected {key} as a dotted name, package.module.Name, got {shown(name)}")
    got = "of Python's own library"
    if is_trusted(name) or name in OBJECTS or name.partition(".")[0] not in sys.stdlib_module_names:
        target = locate(key, name)
        if name in trusted() or is_trusted(full_name(target)):
            return target
        if is_allowed(target, name, bases, strictly):
            return target
        got = f"a {'class' if isinstance(target, type) else type(target).__name__}"
    raise ValueError(
        f"expected {key} to name {wanted(bases, strictly)}, got {name} ({got}): a file from "
        f"elsewhere calls nothing else; if you know what it does, set {TRUST}={name}"
    )


def wanted(bases: tuple[str | type, ...], strictly: bool) -> str:
    kinds = [each if isinstance(each, str) else each.__qualname__ for each in bases]
    classes = [f"a class derived from {' or '.join(kinds)}"] if kinds else []
    functions = [] if kinds and strictly else ["a function that is @configurable"]
    return ", or ".join(classes + functions)


def locate(key: str, name: str) -> Any:
    """As Hydra does: an attribute comes before a module of that name."""
    first, *others = name.split(".")
    path = first
    try:
        found: Any = import_module(first)
        for each in others:
            path = f"{path}.{each}"
            if isinstance(found, ModuleType) and not hasattr(found, each):
                import_module(path)
            found = getattr(found, each)
    except Exception as error:  # a module's code may raise whatever it likes
        raise ValueError(f"cannot import {key}={name}: {error}") from error
    return found


def is_allowed(target: Any, name: str, bases: tuple[str | type, ...], strictly: bool) -> bool:
    if not strictly and (name in OBJECTS or is_of(target, MODULES)):
        return True
    if isinstance(target, FunctionType):
        is_marked = getattr(target, "configurable", False) is True
        return is_marked and not (strictly and bases)
    return isinstance(target, type) and is_derived(target, bases) and is_of_open_part(target)


def is_derived(target: type, bases: tuple[str | type, ...]) -> bool:
    kinds = (base_class(each) for each in bases)
    return any(issubclass(target, kind) for kind in kinds)


def base_class(base: str | type) -> type:
    found = locate("the base", base) if isinstance(base, str) else base
    assert isinstance(found, type)
    return found


def is_of(target: Any, modules: tuple[str, ...]) -> bool:
    """Whether it is a class or function that one of these modules, or one below, defines itself."""
    module = getattr(target, "__module__", None)
    if not isinstance(target, type | FunctionType) or not isinstance(module, str):
        return False
    is_there = getattr(sys.modules.get(module), target.__qualname__, None) is target
    return is_there and any(is_below(module, each) for each in modules)


def is_of_open_part(target: type) -> bool:
    """Whether it is of a package of one's own, or of those parts of a library that may be named."""
    parts = [own for package, own in LIBRARIES.items() if is_below(target.__module__, package)]
    return not parts or any(is_of(target, own) for own in parts)


def is_below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def full_name(target: Any) -> str:
    """Where a class or function is defined, whatever name it was found by."""
    return f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', '')}"


def trusted() -> list[str]:
    return [each for each in map(str.strip, os.environ.get(TRUST, "").split(",")) if each]


def is_trusted(name: str) -> bool:
    return any(is_below(name, each) for each in trusted())


def is_trusted_place(value: str) -> bool:
    """Whether a path or an address lies where the user said."""
    ways = [each.rstrip("/") for each in trusted()]
    is_straight = ".." not in value.split("/")
    return is_straight and any(value == way or value.startswith(f"{way}/") for way in ways)


def walk(value: Any, key: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The value and all that it holds, by dotted keys."""
    if depth > DEEPEST:
        raise ValueError(f"expected at most {DEEPEST} levels in a configuration, got more at {key}")
    yield key, value
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield from walk(child, f"{key}.{name}" if key else str(name), depth + 1)
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from walk(child, f"{key}[{index}]", depth + 1)


def shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:79]}…"


# Building


def build(place: str, config: Mapping[str, Any], **given: Any) -> Any:
    """What a received configuration has at a place, built without a run.

    Args:
        given: parameters that the node leaves open.

    Raises:
        ValueError: if it may not be built, cannot be, or is not what the place demands.
    """
    node = without_fetching(config.get(place, {}))
    require_targets(place, node, place)
    for key, value in walk(node, place):
        if isinstance(value, str) and "${" in value:
            raise ValueError(
                f"expected {key} without ${{run.…}} to build it without a run, got {shown(value)}"
            )
    try:
        built = hydras_instantiate({**node, "_partial_": True} if given else node)
        if given:
            built = built(**given)
    except Exception as error:  # of whatever class is built
        reason = " ".join(str(error.__cause__ or error).split())  # Hydra's own says less
        raise ValueError(f"cannot build {place}: {reason}") from error
    if not isinstance(built, base_class(BASES[place])):
        raise ValueError(
            f"expected {place} to be a {BASES[place]}, got a {type(built).__name__} from "
            f"{node['_target_']}"
        )
    return built


def hydras_instantiate(node: Mapping[str, Any]) -> Any:
    """Hydra's own; where it has a list of what may be called, it gets what is named in the node."""
    from hydra import utils  # a comparison, which names sections only, need not wait for it

    if not hasattr(utils, "execution_whitelist"):  # Hydra before 1.4
        return utils.instantiate(node)
    nodes = [each for _, each in walk(node, "") if isinstance(each, Mapping)]
    names = [each["_target_"] for each in nodes if "_target_" in each]
    names += [full_name(locate("_target_", name)) for name in names]  # it looks at results by these
    return utils.instantiate(node, _execution_whitelist_=names)
