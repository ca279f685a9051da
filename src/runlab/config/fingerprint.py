"""What identifies a run: those of its settings on which its result may depend, as values."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

PLACES_OF_DATA = ("data_dir", "data.root", "data.download", "data.verify")
"""Where the data lie, and how they come there: a run knows them by their checksum."""

RESULT_NEUTRAL_KEYS = (
    *("name", "overwrite", "retry", "fail_fast", "detach", "objective", "logger", "comparison"),
    *("watchers", "keep_checkpoints"),
    *PLACES_OF_DATA,
    "pretrained.file",  # a run knows it by its checksum, too
)
"""Settings that change no result: where a run lies, how it is launched and compared."""


TYPED_GROUP = "trainer"
"""Lightning's Trainer takes 1 as a number of batches, and 1.0 as all of them."""


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's result depends on, of a resolved configuration: values by dotted keys.

    A top-level key that is null says the same as none, so a run stays what it is where a later
    release has a key more. Within a component null stays: its own default may be something else.
    """
    watchers = watchers_of(config)
    values = _normalized_values(_given(config))
    return {key: value for key, value in values.items() if affects_result(key, watchers)}


def earlier_fingerprints(config: Mapping[str, Any]) -> list[str]:
    """Those of earlier releases: of values as they were written, of null keys, and of displays."""
    values, given = _values_of_earlier(config), _values_of_earlier(_given(config))
    return [
        hashed(each) for each in (values, _normalized_values(values), _normalized_values(given))
    ]


def _values_of_earlier(config: Mapping[str, Any]) -> dict[str, Any]:
    watchers = watchers_of(config)
    return {
        key: value
        for key, value in flatten(config).items()
        if is_display(key) or affects_result(key, watchers)
    }


def _given(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if value is not None}


def _normalized_values(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: normalized(key, value) for key, value in flatten(config).items()}


def normalized(key: str, value: Any) -> Any:
    """One form of all values that are the same: 1 of `1.0` and `1e0`, 0 of `-0.0`, in lists too.

    True stays apart from 1, and text from numbers.
    """
    return value if key.split(".")[0] == TYPED_GROUP else _normalized(value)


def _normalized(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _normalized(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_normalized(child) for child in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def affects_result(key: str, watchers: Collection[str] = ()) -> bool:
    """Whether a run's result may depend on the setting with this dotted key.

    Args:
        watchers: the callbacks that only watch, by their keys under `callback`.
    """
    neutral = (*RESULT_NEUTRAL_KEYS, *(f"callback.{name}" for name in watchers))
    is_neutral = any(key == other or key.startswith(f"{other}.") for other in neutral)
    return not (is_neutral or is_display(key))


def is_display(key: str) -> bool:
    """Whether it says how a metric is compared and shown: all of a measure but its direction.

    That decides which checkpoint is the best.
    """
    match key.split(".", 3):
        case ["metric", _, "measure", field]:
            return field != "higher_is_better"
    return False


def watchers_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The callbacks that only watch, by their keys under `callback`: their YAML files say so.

    An earlier release had a list of them.
    """
    said = config.get("watchers") or ()
    return tuple(name for name in said if not isinstance(said, Mapping) or said[name])


def key_of(override: str) -> str:
    """`optimizer.lr` of `+optimizer.lr=0.1`."""
    return override.lstrip("+~").partition("=")[0]


def fingerprint(config: Mapping[str, Any]) -> str:
    """SHA-256 of what a run's result depends on."""
    return hashed(identity(config))


def hashed(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(as_text(values).encode()).hexdigest()


def is_of(record: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether a run's record is of this configuration.

    Earlier releases hashed in other ways. Where their hash is not the one of the recorded
    configuration, that has lost something since, such as an infinity.
    """
    now, then, recorded = fingerprint(config), record["fingerprint"], record["config"]
    if now == then:
        return True
    return then in earlier_fingerprints(recorded) and now == fingerprint(recorded)


def as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for each identifying value in which two configurations differ."""
    return changes(identity(old), identity(new))


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for each key in which two flat mappings differ."""
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if as_text(old.get(key)) != as_text(new.get(key))  # to Python, True equals 1
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
