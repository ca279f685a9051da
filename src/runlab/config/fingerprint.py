"""What identifies a run: those of its settings on which its result may depend."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

RESULT_NEUTRAL_KEYS = (
    *("name", "overwrite", "retry", "fail_fast", "objective", "logger", "comparison", "watchers"),
    *("data_dir", "data.root", "data.download", "data.verify"),
)
"""Settings that change no result: where a run lies, how it is launched and compared."""


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's result depends on, of a resolved configuration: values by dotted keys."""
    watchers = config.get("watchers") or ()
    return {k: value for k, value in flatten(config).items() if affects_result(k, watchers)}


def affects_result(key: str, watchers: Collection[str] = ()) -> bool:
    """Whether a run's result may depend on the setting with this dotted key.

    Args:
        watchers: the callbacks that only watch, by their keys under `callback`.
    """
    neutral = (*RESULT_NEUTRAL_KEYS, *(f"callback.{name}" for name in watchers))
    return not any(key == other or key.startswith(f"{other}.") for other in neutral)


def key_of(override: str) -> str:
    """`optimizer.lr` of `+optimizer.lr=0.1`."""
    return override.lstrip("+~").partition("=")[0]


def fingerprint(config: Mapping[str, Any]) -> str:
    """SHA-256 of what a run's result depends on."""
    text = json.dumps(identity(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for each identifying value in which two configurations differ."""
    return changes(identity(old), identity(new))


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for each key in which two flat mappings differ."""
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
