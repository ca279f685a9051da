"""What a metric measures: a module or the configuration declares it, a comparison reads it.

The run record keeps it in between.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from inspect import signature
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True)
class Measure:
    """A metric `val/<name>` and `test/<name>`, its unit, and which of two values is the better one.

    Attributes:
        title: for tables and axes, as in `RMSE`.
        unit: of its values, as in `%`; difference_unit: of a difference of two, as in `points`.
        scale: what recorded values are multiplied by to be in `unit`. All that follows is in it.
        digits: behind the decimal point.
        best: the best value there can be; axes are spaced by the logarithm of the distance to it.
        proportion: whether it is a share of samples, to which a finite test set adds a binomial
            uncertainty.
        milestones: values whose first epoch a comparison tells.
        tolerance: learning rates whose mean is this close to the best one count as good.
        comparable: False where its unit depends on the loss: it ranks runs of one loss only.
    """

    name: str
    title: str
    unit: str = ""
    difference_unit: str = ""
    scale: float = 1.0
    higher_is_better: bool = False
    digits: int = 4
    best: float | None = None
    proportion: bool = False
    milestones: tuple[float, ...] = ()
    tolerance: float | None = None
    comparable: bool = True

    def axis(self, split: str) -> str:
        """As in `validation RMSE, cm` or, without a unit, `test RMSE`."""
        return f"{split} {self.title}" + (f", {self.unit}" if self.unit else "")

    def text(self, value: float) -> str:
        """A recorded value in the measure's unit, as in `97.93%` or `0.071 s`."""
        unit = self.unit if self.unit in ("", "%") else f" {self.unit}"
        return f"{self.scale * value:.{self.digits}f}{unit}"

    def to_record(self) -> dict[str, Any]:
        return {**asdict(self), "milestones": list(self.milestones)}

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> "Measure":
        """Keys that this version does not know are left out.

        Raises:
            ValueError: if name or title is missing, or a value cannot be.
        """
        known = {each.name for each in fields(cls)}
        given = {key: value for key, value in values.items() if key in known}
        if not {"name", "title"} <= given.keys():
            raise ValueError(f"expected a measure with a name and a title, got {dict(values)}")
        for key, value in given.items():
            if not _can_be(key, value):
                raise ValueError(f"expected a measure's {key}, got {value!r}")
        return cls(**{**given, "milestones": tuple(given.get("milestones") or ())})


def _can_be(key: str, value: Any) -> bool:
    """Whether the field of a measure may have this value, as JSON has it."""
    match key:
        case "name":
            return isinstance(value, str) and value != ""
        case "title" | "unit" | "difference_unit":
            return isinstance(value, str)
        case "higher_is_better" | "proportion" | "comparable":
            return isinstance(value, bool)
        case "digits":
            return is_number(value) and value in range(20)
        case "scale":
            return is_number(value) and value != 0
        case "tolerance":
            return value is None or (is_number(value) and value >= 0)
        case "best":
            return value is None or is_number(value)
    return value is None or (isinstance(value, list | tuple) and all(map(is_number, value)))


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


LOSS = Measure("loss", "loss", comparable=False)
"""What a module measures that declares nothing."""


def declared_measures(config: Mapping[str, Any]) -> tuple[Measure, ...]:
    """What runs of a configuration are compared by, the primary measure first.

    Those that the module's class declares, then those of the group `metric`. `comparison.metric`
    names the primary one; by default it is the first. None where the module cannot be imported.
    A class may say by `measures_for(config)` which of its `measures` this configuration has.

    Raises:
        ValueError: for a node of `metric` that says too little, and an unknown primary measure.
    """
    try:
        kind = target_of("module", config.get("module"))
    except ValueError:
        return ()
    own = kind.measures_for(config) if hasattr(kind, "measures_for") else ()
    own = own or tuple(getattr(kind, "measures", ())) or (LOSS,)
    measures = {each.name: each for each in own}
    for name, node in (config.get("metric") or {}).items():
        if node is not None:
            measures[name] = _configured(name, node, measures.get(name))
    primary = (config.get("comparison") or {}).get("metric") or own[0].name
    if primary not in measures:
        declare = f'declare it in its class: measures = (runlab.Measure("{primary}", "<title>"), …)'
        raise ValueError(
            f"expected comparison.metric to name what a run measures ({', '.join(measures)}), got "
            f"{primary}: {'add it by metric=…' if takes_metrics(kind) else declare}"
        )
    return (measures.pop(primary), *measures.values())


def takes_metrics(module: Any) -> bool:
    """Whether a module's constructor, or that of a base, has the parameter `metrics`."""
    makers = getattr(module, "__mro__", (module,))
    return any("metrics" in signature(each).parameters for each in makers if each is not object)


def target_of(key: str, node: Any) -> Any:
    """The class or function that a node names. Raises ValueError if it cannot be imported."""
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if target is None:
        raise ValueError(f"expected {key} with a _target_, got none: choose {key}=…, or give one")
    try:
        found = resolve_name(str(target))
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(
            f"cannot import {key}._target_={target}: {error}: expected package.module.Name"
        ) from None
    if not callable(found):
        raise ValueError(
            f"expected {key}._target_ to name a class or function, got {target}, which is a "
            f"{type(found).__name__}"
        )
    return found


def _configured(name: str, node: Any, declared: Measure | None) -> Measure:
    """What a node of the group `metric` declares; the rest is its class's, or the module's own."""
    key = f"metric.{name}"
    if not isinstance(node, Mapping) or not ("_target_" in node or node.keys() <= {"measure"}):
        raise ValueError(
            f"expected {key} with the _target_ of a metric of torchmetrics, or with nothing but "
            f"measure, got {dict(node) if isinstance(node, Mapping) else node!r}"
        )
    given = _given(f"{key}.measure", node.get("measure"))
    if "_target_" not in node and declared is not None:
        return Measure.from_record(declared.to_record() | given)
    if declared is not None:
        raise ValueError(
            f"expected another name for {key}: the module itself measures {name}; without a "
            "_target_ it says how that is shown"
        )
    return Measure.from_record({"name": name} | _defaults(key, name, node, given) | given)


def _given(key: str, node: Any) -> dict[str, Any]:
    """The fields of a measure that a configuration gives."""
    if not isinstance(node, Mapping | None):
        raise ValueError(f"expected {key} by its keys, got {node!r}")
    fitting = {each.name for each in fields(Measure)} - {"name"}
    given = dict(node or {})
    if unknown := given.keys() - fitting:
        raise ValueError(
            f"unknown key {key}.{min(unknown)}: expected some of {', '.join(sorted(fitting))}"
        )
    if given.get("milestones") is not None:
        given["milestones"] = list(given["milestones"])  # of OmegaConf's own list
    if "unit" in given:
        given.setdefault("difference_unit", "points" if given["unit"] == "%" else given["unit"])
    return given


def _defaults(
    key: str, name: str, node: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """What torchmetrics' class says of a measure of which little is given."""
    target = node.get("_target_")
    kind = None if target is None else target_of(key, node)
    higher = given.get("higher_is_better", getattr(kind, "higher_is_better", None))
    if higher is None:
        raise ValueError(
            f"expected {key}.measure.higher_is_better=true or false, as "
            f"{target or 'no class of torchmetrics'} does not say it, got neither"
        )
    bound = getattr(kind, "plot_upper_bound" if higher else "plot_lower_bound", None)
    best = None if bound is None else given.get("scale", 1.0) * bound
    return {"title": name, "higher_is_better": higher, "best": best}


def build_metrics(
    config: Mapping[str, Any], build: Callable[[Any], Any]
) -> "MetricCollection | None":
    """The metrics of the group `metric` that the engine computes; None where there are none.

    Each is updated by a module's predictions and targets. A node without a `_target_` declares what
    the module measures itself.

    Args:
        config: plain values, or as Hydra composes them.
        build: makes an object from a node of plain values.

    Raises:
        ValueError: unless each is a metric of torchmetrics.
    """
    # a comparison, which reads measures only, need not wait for torch
    from omegaconf import OmegaConf
    from torchmetrics import Metric, MetricCollection

    metrics: dict[str, Any] = {}
    for name, node in (config.get("metric") or {}).items():
        if node is not None and "_target_" in node:
            plain: Any = node
            if OmegaConf.is_config(node):
                plain = OmegaConf.to_container(node, resolve=True)
            metric = build({key: value for key, value in plain.items() if key != "measure"})
            if not isinstance(metric, Metric):
                raise ValueError(
                    f"expected metric.{name}._target_ to make a Metric of torchmetrics, got a "
                    f"{type(metric).__name__} from {plain['_target_']}"
                )
            metrics[name] = metric
    return MetricCollection(metrics, compute_groups=False) if metrics else None


def mode_of(metric: str, measures: Sequence[Measure]) -> str | None:
    """`max` or `min`, whichever is better of `<split>/<name>`; None if no measure is that."""
    better = {
        f"{split}/{each.name}": "max" if each.higher_is_better else "min"
        for split in ("train", "val", "test")
        for each in measures
    }
    return better.get(metric)
