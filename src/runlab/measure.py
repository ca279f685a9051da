"""What a metric measures: a module declares it, the run record keeps it, a comparison reads it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pkgutil import resolve_name
from typing import Any


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


def declared_measures(config: Mapping[str, Any]) -> tuple[Measure, ...]:
    """What the module of a configuration declares; none where it cannot be imported."""
    node = config.get("module")
    target = str(node.get("_target_")) if isinstance(node, Mapping) else ""
    try:
        return tuple(getattr(resolve_name(target), "measures", ()))
    except (ImportError, AttributeError, ValueError, TypeError):
        return ()


def mode_of(metric: str, measures: Sequence[Measure]) -> str | None:
    """`max` or `min`, whichever is better of `<split>/<name>`; None if no measure is that."""
    better = {
        f"{split}/{each.name}": "max" if each.higher_is_better else "min"
        for split in ("train", "val", "test")
        for each in measures
    }
    return better.get(metric)
