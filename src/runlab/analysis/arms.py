"""Which runs belong together: the loss, and whatever else was varied."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from runlab.config.fingerprint import affects_result, flatten, key_of

KNOWN_LOSSES = ("cross_entropy", "mse", "mse_logits")

IGNORED_GROUPS = ("run", "paths", "output", "hydra", "experiment")
"""Where a run came from and where it writes. What an experiment set is seen in its values."""

IGNORED_KEYS = ("root", "path", "folder", "dir", "dirpath", "filename", "enable_progress_bar")
IGNORED_ENDINGS = ("_dir", "_path", "_folder", "_root")
AXES = ("loss", "optimizer.lr", "seed")


SETTING = "setting/"
"""Begins the columns that hold what was varied: `setting/model`."""


def name_arms(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row a run: its `arm`, as in `mse, model=cnn`, and what makes it, as in `setting/model`.

    That is the loss, then every other setting that varies. A config value that only follows from a
    choice (the cnn's widths from `model=cnn`) or repeats another value by interpolation is none.
    """
    if not records:
        return pd.DataFrame({"arm": []})
    settings = pd.DataFrame([_settings(record) for record in records], dtype=object)
    overridden = {key for record in records for key in _override_keys(record)}
    kept = _varying_settings(settings, _choice_groups(records), overridden)
    names = _short_names(kept)
    rows = [
        {"loss": _text(row["loss"]), **_others(row, names)} for row in settings.to_dict("records")
    ]
    return pd.DataFrame(
        [
            {"arm": _name(row), **{SETTING + key: value for key, value in row.items()}}
            for row in rows
        ]
    )


def settings_of(arms: pd.DataFrame) -> list[dict[str, Any]]:
    """What makes the arm of each row, by the name of its column."""
    names = [str(column) for column in arms if str(column).startswith(SETTING)]
    return [
        {str(key): value for key, value in row.items()} for row in arms[names].to_dict("records")
    ]


def ordered(arms: Iterable[str]) -> list[str]:
    """Each arm once: known losses first and in a fixed order, the rest by name."""
    return sorted(set(arms), key=_position)


def _position(arm: str) -> tuple[int, list[tuple[float, str]]]:
    """Numbers within names by their value: `width=64` comes before `width=128`."""
    loss = arm.split(", ")[0]
    known = loss in KNOWN_LOSSES
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", arm)
    natural = [(float(part), "") if index % 2 else (0.0, part) for index, part in enumerate(parts)]
    return (KNOWN_LOSSES.index(loss) if known else len(KNOWN_LOSSES), natural)


def _settings(record: dict[str, Any]) -> dict[str, str]:
    flat = flatten(record.get("config") or {}) | (record.get("choices") or {})
    return {key: json.dumps(value) for key, value in flat.items() if not _ignored(key)}


def _ignored(key: str) -> bool:
    if key == "callback" or not affects_result(key.replace("/", ".")):
        return True  # what a choice of callbacks changes, its callbacks' own settings tell
    group, last = key.replace("/", ".").split(".")[0], key.split(".")[-1]
    return group in IGNORED_GROUPS or last in IGNORED_KEYS or last.endswith(IGNORED_ENDINGS)


def _choice_groups(records: Sequence[dict[str, Any]]) -> set[str]:
    return {group for record in records for group in record.get("choices") or {}}


def _override_keys(record: dict[str, Any]) -> list[str]:
    return [key_of(override) for override in record.get("overrides") or []]


def _varying_settings(settings: pd.DataFrame, groups: set[str], overridden: set[str]) -> list[str]:
    codes = pd.DataFrame(
        {key: pd.factorize(settings[key], use_na_sentinel=False)[0] for key in settings}
    )
    varying = [str(key) for key in settings if key not in AXES and codes[key].nunique() > 1]
    kept: list[str] = []
    for key in sorted(varying, key=lambda key: (key not in groups, key not in overridden, key)):
        causes = [cause for cause in kept if cause in groups or cause in overridden]
        causes = [] if key in groups or key in overridden else causes
        causes += ["loss"] if key.startswith("loss.") else []
        causes += [key.split(".")[0]] if key.split(".")[0] in kept else []
        if not (_repeats(settings, key, kept) or any(_follows(codes, key, c) for c in causes)):
            kept.append(key)
    return sorted(kept)


def _repeats(settings: pd.DataFrame, key: str, others: list[str]) -> bool:
    """Whether `key` was interpolated from another setting: it equals it in every run."""
    candidates = [other for other in (*AXES, *others) if other in settings]
    return any(bool((settings[key] == settings[other]).all()) for other in candidates)


def _follows(codes: pd.DataFrame, key: str, cause: str) -> bool:
    pairs = codes[[cause, key]].drop_duplicates()
    return len(pairs) == codes[cause].nunique()


def _short_names(keys: list[str]) -> dict[str, str]:
    """The last part of each key; the whole key where two share it."""
    count = Counter(key.split(".")[-1] for key in keys)
    return {key: key if count[key.split(".")[-1]] > 1 else key.split(".")[-1] for key in keys}


def _others(row: dict[Any, Any], names: dict[str, str]) -> dict[str, str]:
    return {names[key]: _text(row[key]) for key in names if isinstance(row[key], str)}


def _name(settings: dict[str, str]) -> str:
    loss, *others = settings.items()
    return ", ".join([loss[1], *(f"{key}={value}" for key, value in others)])


def _text(setting: str) -> str:
    value = json.loads(setting)
    return value if isinstance(value, str) else setting
