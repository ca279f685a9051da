"""Optimizers of a configuration: any class of `torch.optim`, with groups of parameters by name."""

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer, SparseAdam

from runlab.config.schema import accepted_parameters, unknown

# Frozen parts are in evaluation mode on purpose.
warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start")

Named = tuple[str, nn.Parameter]


@dataclass(frozen=True)
class ParameterGroup:
    """An entry of `parameter_groups`: which parameters, and what is different for them.

    Attributes:
        key: where the entry stands in the configuration.
        pattern: of the parameters' names in the module, as a shell matches file names; one of
            several. `*` also matches dots.
        max_ndim: only parameters of at most so many dimensions: with 1, biases and norms.
        frozen: whether they stay as they are.
        lr_scale: their learning rate is the optimizer's times this.
        settings: of the optimizer, for them.
    """

    key: str
    pattern: tuple[str, ...]
    max_ndim: int | None = None
    frozen: bool = False
    lr_scale: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, name: str, parameter: nn.Parameter) -> bool:
        is_small = self.max_ndim is None or parameter.ndim <= self.max_ndim
        return is_small and any(fnmatchcase(name, each) for each in self.pattern)


class OptimizerFactory:
    """Makes an optimizer from parameters, those of each group with the group's settings.

    A parameter is of the first group that matches its name; one that no group matches is in the
    optimizer's first own group, with the settings of the optimizer alone. Frozen ones are left out.

    Args:
        optimizer: a class or function that takes parameters and `settings`.
    """

    def __init__(
        self,
        optimizer: Callable[..., Optimizer],
        settings: Mapping[str, Any],
        groups: Sequence[ParameterGroup] = (),
    ) -> None:
        require_settings(optimizer, settings, groups)
        self.optimizer, self.settings, self.groups = optimizer, dict(settings), list(groups)

    def __call__(self, parameters: Iterable[Any]) -> Optimizer:
        """An optimizer of parameters, (name, parameter) pairs, or torch's own groups.

        Raises:
            ValueError: if there are none to train, or groups by name and no names.
        """
        given = list(parameters)
        if all(isinstance(each, tuple) for each in given):
            given = self.grouped(given)
        elif self.groups and not any(isinstance(each, Mapping) for each in given):
            raise ValueError(
                "expected the names of parameters, since parameter_groups asks for them, got "
                "parameters alone: give the optimizer self.named_parameters()"
            )
        if not given:
            raise ValueError("expected at least one parameter to train, got none: all are frozen")
        name = f"{self.optimizer.__module__}.{self.optimizer.__qualname__}"
        try:
            made = self.optimizer(given, **self.settings)
        except (ValueError, TypeError) as error:
            raise ValueError(f"cannot build optimizer by {name}: {error}") from error
        if not isinstance(made, Optimizer):
            raise ValueError(
                f"expected optimizer._target_ to make a torch.optim.Optimizer, got a "
                f"{type(made).__name__} by {name}: choose optimizer=…"
            )
        return made

    def grouped(self, named: Sequence[Named]) -> list[Any]:
        """Parameters as the optimizer takes them: a plain list where they all are alike."""
        found = [first_match(self.groups, *each) for each in named]
        rest = [p for (_, p), group in zip(named, found, strict=True) if group is None]
        grouped: list[Any] = [{"params": rest}] if rest else []
        for group in self.groups:
            own = [p for (_, p), of in zip(named, found, strict=True) if of is group]
            if own and not group.frozen:
                grouped.append({"params": own, **self.settings_of(group)})
        return rest if len(rest) == len(named) else grouped

    def settings_of(self, group: ParameterGroup) -> dict[str, Any]:
        if group.lr_scale is None:
            return dict(group.settings)
        given = self.settings.get("lr")
        rate = (
            inspect.signature(self.optimizer).parameters["lr"].default if given is None else given
        )
        return {**group.settings, "lr": group.lr_scale * rate}


def first_match(
    groups: Iterable[ParameterGroup], name: str, parameter: nn.Parameter
) -> ParameterGroup | None:
    return next((each for each in groups if each.matches(name, parameter)), None)


def build_optimizer_factory(
    node: DictConfig, groups: Sequence[ParameterGroup] = ()
) -> OptimizerFactory:
    """Of a configuration's `optimizer`."""
    made = instantiate(node, _partial_=True, _convert_="all")
    return OptimizerFactory(made.func, made.keywords, groups)


def require_settings(
    optimizer: Callable[..., Any], settings: Mapping[str, Any], groups: Iterable[ParameterGroup]
) -> None:
    """Raises ValueError for what the optimizer does not take, and for one that needs a closure."""
    name = f"{optimizer.__module__}.{optimizer.__qualname__}"
    if isinstance(optimizer, type) and not issubclass(optimizer, Optimizer):
        raise ValueError(
            f"expected optimizer._target_ to name a class derived from torch.optim.Optimizer, got "
            f"{name}: choose optimizer=…"
        )
    parameters = inspect.signature(optimizer).parameters
    needed = [key for key, p in parameters.items() if p.default is p.empty and p.kind not in
              (p.VAR_POSITIONAL, p.VAR_KEYWORD)]  # fmt: skip
    for key in set(needed[1:]) - settings.keys():
        raise ValueError(f"expected optimizer.{key} for {name}, got none")
    step = getattr(optimizer, "step", None)
    closure = inspect.signature(step).parameters.get("closure") if step else None
    if closure is not None and closure.default is closure.empty:
        raise ValueError(
            f"expected an optimizer that takes its step by one gradient, got {name}, which "
            "evaluates the loss several times: choose another, or write a module with a "
            "training_step of its own"
        )
    taken = accepted_parameters(optimizer)
    if taken is None:
        return
    settable = taken - set(needed[:1])  # the parameters themselves are the group's
    for group in groups:
        for key in group.settings.keys() - settable:
            valid = {"pattern", *OWN_KEYS, *settable}
            raise ValueError(unknown(f"{group.key}.{key}", key, "key", valid))


def parameter_groups(nodes: Any) -> list[ParameterGroup]:
    """The entries of `parameter_groups`.

    Raises:
        ValueError: for one that cannot be.
    """
    if nodes is None:
        return []
    if not isinstance(nodes, list):
        raise ValueError(
            "expected parameter_groups as a list, whose first entry that matches counts, got "
            f"{nodes!r}: write [{{pattern: network.head.*, lr_scale: 10}}]"
        )
    return [parameter_group(f"parameter_groups[{i}]", node) for i, node in enumerate(nodes)]


def parameter_group(key: str, node: Any) -> ParameterGroup:
    if not isinstance(node, Mapping) or not node.get("pattern"):
        raise ValueError(
            f"expected {key} with a pattern of parameters' names, got {node!r}: write "
            "{pattern: network.head.*, lr_scale: 10}"
        )
    settings = {str(name): value for name, value in node.items()}
    pattern = settings.pop("pattern")
    patterns = (pattern,) if isinstance(pattern, str) else tuple(map(str, pattern))
    own = {name: settings.pop(name) for name in OWN_KEYS & settings.keys()}
    group = ParameterGroup(key, patterns, **own, settings=settings)
    if "lr" in settings and group.lr_scale is not None:
        raise ValueError(f"expected {key}.lr or {key}.lr_scale, got both: leave one out")
    if group.frozen and (settings or group.lr_scale is not None):
        raise ValueError(
            f"expected nothing beside frozen in {key}, since what is frozen is not trained, got "
            f"{', '.join(sorted(node.keys() - {'pattern', 'frozen'}))}"
        )
    if not (group.frozen or settings or group.lr_scale is not None):
        raise ValueError(f"expected what {key} changes, got its pattern alone: give lr_scale, …")
    return group


OWN_KEYS = {"max_ndim", "frozen", "lr_scale"}
"""Keys of an entry that are no settings of the optimizer."""


def prepare_parameters(module: nn.Module, groups: Sequence[ParameterGroup]) -> None:
    """Freezes the parameters of a module that are to be.

    A part of the network whose parameters all are frozen goes into evaluation mode, and Lightning
    leaves it there: its batch norm uses and keeps its running statistics, its dropout drops
    nothing.

    Raises:
        ValueError: for a group that no parameter is in.
    """
    named = list(module.named_parameters())
    found = [first_match(groups, *each) for each in named]
    for group in groups:
        if not any(each is group for each in found):
            raise ValueError(
                f"expected {group.key}.pattern to match a parameter that no entry before it does, "
                f"got {', '.join(group.pattern)}; parameters are {shown([n for n, _ in named])}"
            )
    frozen = {id(p) for (_, p), each in zip(named, found, strict=True) if each and each.frozen}
    if not frozen:
        return
    for part in module.modules():
        own = list(part.parameters())
        if own and all(id(p) in frozen for p in own):
            part.eval()
    for _, parameter in named:
        if id(parameter) in frozen:
            parameter.requires_grad_(False)


def shown(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    more = f", … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def require_sparse_gradients(factory: OptimizerFactory, module: nn.Module) -> None:
    """Raises ValueError where SparseAdam would meet gradients that are not sparse."""
    is_sparse = any(getattr(each, "sparse", False) for each in module.modules())
    if factory.optimizer is SparseAdam and not is_sparse:
        raise ValueError(
            "expected a network with nn.Embedding(sparse=True), whose gradients are what "
            "torch.optim.SparseAdam takes, got none: take torch.optim.Adam"
        )
