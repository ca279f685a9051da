"""What a sweep is compared by: the key that names its arms, and the key that is tuned for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runlab.measure import is_number

LEARNING_RATES = ("lr", "learning_rate")
"""Last parts of keys whose values are learning rates."""

SMALLEST, LARGEST = 1e-30, 1e30
"""Rates above 0 and margins that can be drawn, with room around them."""

ABSENT = object()
"""Of a key that a configuration lacks: None may be a value."""


@dataclass(frozen=True)
class Axes:
    """Keys of a configuration, as `comparison.arm` and `comparison.rate` name them, or None.

    Attributes:
        arm: the choice of this group, or the value of this key, names a run's arm. Of runs that
            lack it, what else varies does.
        rate: of its values the best is chosen for each arm. Runs that lack it have one cell an arm.
    """

    arm: str | None = "loss"
    rate: str | None = "optimizer.lr"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Axes":
        """Those of a run; a record of an earlier release has the defaults."""
        node = config.get("comparison") or {}
        return cls(**{name: node[name] for name in ("arm", "rate") if name in node})

    @property
    def keys(self) -> list[str]:
        """Arm, rate and seed, as far as they are named: what places a run in its sweep."""
        return [key for key in (self.arm, self.rate, "seed") if key is not None]

    def require_distinct(self) -> None:
        """Raises ValueError where runs could not be compared by what the keys name."""
        if "" in self.keys or len(set(self.keys)) < len(self.keys):
            raise ValueError(
                "expected comparison.arm and comparison.rate to name two settings other than seed, "
                f"or null, got {self.arm!r} and {self.rate!r}"
            )

    def names(self) -> dict[str, str]:
        """The last part of each key, as in `lr`; the whole key where two share it."""
        last = [key.rpartition(".")[2] for key in self.keys]
        return {
            key: key if last.count(name) > 1 else name
            for key, name in zip(self.keys, last, strict=True)
        }


def value_at(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key in plain values, `ABSENT` if there is none.

    A number is a place in a list, as in `parameter_groups.0.lr`.
    """
    node: Any = config
    for part in key.split("."):
        children = _children(node)
        if part not in children:
            return ABSENT
        node = children[part]
    return node


def _children(node: Any) -> Mapping[str, Any]:
    if isinstance(node, list):
        return {str(place): child for place, child in enumerate(node)}
    return node if isinstance(node, Mapping) else {}


def without_value(node: Any, key: str) -> Any:
    """The same plain values, but for that of a dotted key, which is null."""
    first, _, rest = key.partition(".")
    kept = {
        part: (without_value(child, rest) if rest else None) if part == first else child
        for part, child in _children(node).items()
    }
    return list(kept.values()) if isinstance(node, list) else kept


def check_rate(key: str, value: Any) -> None:
    """Raises ValueError for a value that runs cannot be compared over."""
    if not (is_number(value) and value >= 0):
        raise ValueError(f"expected {key} to be a finite number of at least 0, got {value!r}")
    if not (value == 0 or SMALLEST <= value <= LARGEST):
        raise ValueError(
            f"expected {key} to be 0, or from {SMALLEST:g} to {LARGEST:g}, got {value!r}"
        )
