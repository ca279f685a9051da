"""Which runs belong together: what `comparison.arm` names, and whatever else was varied."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import pandas as pd

from runlab.analysis.columns import columns
from runlab.config.axes import ABSENT, Axes, value_at, without_value
from runlab.config.fingerprint import affects_result, flatten, key_of, normalized, watchers_of
from runlab.config.weights import FILE, labelled
from runlab.runs.record import nested_dict

IGNORED_GROUPS = ("run", "paths", "output", "hydra")
"""Where a run came from and where it writes."""

IGNORED_KEYS = ("root", "path", "folder", "dir", "dirpath", "filename", "enable_progress_bar")
IGNORED_ENDINGS = ("_dir", "_path", "_folder", "_root")

LACKING = ""
"""Of a setting that a run lacks, where the others are JSON."""

SETTING = "setting/"
"""Begins the columns that hold what was varied: `setting/model`."""

ALL_RUNS = "all runs"
"""The arm where nothing varies, and no choice of a module names it."""


def name_arms(records: Sequence[dict[str, Any]], axes: Axes) -> pd.DataFrame:
    """One row a run: its `arm`, as in `mse, model=cnn`, and what makes it, as in `setting/model`.

    That is the choice of the group that `axes.arm` names (of another key `widths=[8]`), then every
    other setting that varies, but for rate and seed. A config value that only follows from a choice
    (the cnn's widths from `model=cnn`) or repeats another value by interpolation is none, nor is
    one that a run lacks together with its whole group, as a module that takes no loss does. Nor is
    an experiment, whose values tell what it sets, unless a multirun compares several. Where no
    setting is left, all runs are one arm, by the choice of their module.
    """
    if not records:
        return pd.DataFrame({"arm": []})
    settings = _settings(records, axes)
    if axes.arm != "experiment" and not any(map(_sweeps_experiments, records)):
        settings = settings.drop(columns="experiment", errors="ignore")
    overridden = {key for record in records for key in _override_keys(record)}
    groups = _choice_groups(records)
    selected = _varying_settings(settings, groups, overridden, axes)
    first = [axes.arm] if axes.arm is not None and axes.arm in settings else []
    names = _short_names([*first, *selected])
    alone = _text(settings["module"].iloc[0]) if "module" in groups else ALL_RUNS
    bare = names[first[0]] if first and first[0] in groups else ""
    texts = {key: _texts(settings[key]) for key in names}
    rows = [
        {names[key]: texts[key][row[key]] for key in names if row[key] != LACKING}
        for row in settings[list(names)].to_dict("records")
    ]
    return pd.DataFrame(
        [
            {"arm": _name(row, bare) or alone}
            | {SETTING + key: value for key, value in row.items()}
            for row in rows
        ]
    )


def settings_of(arms: pd.DataFrame) -> list[dict[str, Any]]:
    """What makes the arm of each row, by the name of its column."""
    names = [str(column) for column in arms if str(column).startswith(SETTING)]
    return [
        {str(key): value for key, value in row.items()} for row in arms[names].to_dict("records")
    ]


def same_spelling(arm: str) -> str:
    """A name that a user wrote, `mse, width=1.0`, as arms are named here: `mse, width=1`."""
    parts = [part.partition("=") for part in parts_of(arm)]
    return ", ".join(f"{key}{sign}{_same_text(value)}" for key, sign, value in parts)


def _same_text(value: str) -> str:
    try:
        return json.dumps(normalized("", json.loads(value)), ensure_ascii=False)
    except ValueError:
        return value


def parts_of(arm: str) -> list[str]:
    """`mse` and `model=cnn` of `mse, model=cnn`: no comma within a list parts them."""
    return re.split(r", (?=[\w./]+=)", arm)


def order_arms(arms: Iterable[str], known: Iterable[str]) -> list[str]:
    """Each arm once: those that begin with a known name first, in its order; the rest by name.

    Numbers within names count by their value: `width=64` comes before `width=128`.
    """
    names = list(known)
    return sorted(set(arms), key=lambda arm: (_place(arm, names), _natural(arm)))


def _place(arm: str, names: list[str]) -> int:
    first = parts_of(arm)[0]
    return names.index(first) if first in names else len(names)


def _natural(name: str) -> list[tuple[float, str]]:
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", name)
    return [(float(part), "") if index % 2 else (0.0, part) for index, part in enumerate(parts)]


def _settings(records: Sequence[dict[str, Any]], axes: Axes) -> pd.DataFrame:
    """One row a run and a column a setting, as JSON."""
    configs = [record.get("config") or {} for record in records]
    watchers = [watchers_of(config) for config in configs]
    weights = [{"pretrained": config.get("pretrained")} for config in configs]
    choices = [record.get("choices") or {} for record in records]
    found = columns(configs, lambda name, value: _config_texts(name, value, axes))
    found |= columns(
        weights, lambda _, node: _texts_of(labelled(node if isinstance(node, dict) else {}))
    )
    for key, texts in columns(choices, lambda name, value: _texts_of({name: value})).items():
        others = found.get(key, texts)
        found[key] = [text or other for text, other in zip(texts, others, strict=True)]
    known = {
        key: texts if key in (*axes.keys, FILE) else _where_it_can_vary(key, texts, watchers)
        for key, texts in found.items()
    }
    there = {key: texts for key, texts in known.items() if any(texts)}
    return pd.DataFrame(there, index=range(len(records)), dtype=object)


def _config_texts(name: str, value: Any, axes: Axes) -> dict[str, str]:
    return {} if name == "pretrained" else _texts_of(_flat({name: value}, axes))


def _texts_of(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: json.dumps(normalized(key, value), ensure_ascii=False) for key, value in values.items()
    }


def _where_it_can_vary(
    key: str, texts: list[str], watchers: Sequence[tuple[str, ...]]
) -> list[str]:
    can = {own: _can_vary(key, own) for own in set(watchers)}
    if all(can.values()):
        return texts
    return [text if can[own] else LACKING for text, own in zip(texts, watchers, strict=True)]


def _flat(config: dict[str, Any], axes: Axes) -> dict[str, Any]:
    """Values by dotted keys; one that axes name within a list is a key of its own."""
    known, within = flatten(config), {}
    for key in axes.keys:
        value = value_at(config, key)
        if key not in known and value is not ABSENT and not isinstance(value, dict):
            config, within[key] = without_value(config, key), value
    return flatten(config) | within


def _sweeps_experiments(record: dict[str, Any]) -> bool:
    return "experiment" in (nested_dict(record, "launch").get("swept") or ())


@cache  # runs share their keys
def _can_vary(key: str, watchers: tuple[str, ...]) -> bool:
    """Whether a setting may tell arms apart, rather than say where a run came from or writes."""
    if key == "callback" or not affects_result(key.replace("/", "."), watchers):
        return False  # what a choice of callbacks changes, its callbacks' own settings tell
    group, last = key.replace("/", ".").split(".")[0], key.split(".")[-1]
    is_path = last in IGNORED_KEYS or last.endswith(IGNORED_ENDINGS)
    return group not in IGNORED_GROUPS and not is_path


def _choice_groups(records: Sequence[dict[str, Any]]) -> set[str]:
    return {group for record in records for group in record.get("choices") or {}}


def _override_keys(record: dict[str, Any]) -> list[str]:
    return [key_of(override) for override in record.get("overrides") or []]


def _varying_settings(
    settings: pd.DataFrame, groups: set[str], overridden: set[str], axes: Axes
) -> list[str]:
    codes = pd.DataFrame({key: pd.factorize(settings[key])[0] for key in settings})
    there = _groups_there(settings)
    varying = [
        str(key)
        for key in settings
        if key not in axes.keys and codes[key][there[_group(str(key))]].nunique() > 1
    ]
    selected: list[str] = []
    for key in sorted(varying, key=lambda key: (key not in groups, key not in overridden, key)):
        causes = [cause for cause in selected if cause in groups or cause in overridden]
        causes = [] if key in groups or key in overridden else causes
        causes += [axes.arm] if axes.arm == _group(key) else []
        causes += [_group(key)] if _group(key) in selected else []
        repeats = _repeats(settings, key, [*axes.keys, *selected])
        if not (repeats or any(_follows(codes, key, cause) for cause in causes)):
            selected.append(key)
    return sorted(selected)


def _group(key: str) -> str:
    return key.partition(".")[0]


def _groups_there(settings: pd.DataFrame) -> dict[str, pd.Series]:
    """Of each group of settings, which runs have any of it; of a single setting, all runs."""
    by_group: dict[str, list[str]] = {}
    for key in map(str, settings):
        by_group.setdefault(_group(key), []).append(key)
    return {
        group: (settings[keys] != LACKING).any(axis=1) | (keys == [group])
        for group, keys in by_group.items()
    }


def _repeats(settings: pd.DataFrame, key: str, others: list[str]) -> bool:
    """Whether `key` was interpolated from another setting: it equals it in every run."""
    candidates = [other for other in others if other in settings]
    return any(bool((settings[key] == settings[other]).all()) for other in candidates)


def _follows(codes: pd.DataFrame, key: str, cause: str) -> bool:
    if cause not in codes:
        return False
    pairs = codes[[cause, key]].drop_duplicates()
    return len(pairs) == codes[cause].nunique()


def _short_names(keys: list[str]) -> dict[str, str]:
    """The last part of each key; the whole key where two share it."""
    count = Counter(key.split(".")[-1] for key in keys)
    return {key: key if count[key.split(".")[-1]] > 1 else key.split(".")[-1] for key in keys}


def _name(settings: dict[str, str], bare: str) -> str:
    """`bare` is the setting that is told by its value alone."""
    parts = [value if key == bare else f"{key}={value}" for key, value in settings.items()]
    return ", ".join(parts)


def _texts(settings: Iterable[str]) -> dict[str, str]:
    """How each setting is told; in quotes what would read as another one, `"true"` as `true`."""
    texts = {setting: _text(setting) for setting in set(settings) - {LACKING}}
    count = Counter(texts.values())
    return {setting: text if count[text] == 1 else setting for setting, text in texts.items()}


def _text(setting: str) -> str:
    value = json.loads(setting)
    return value if isinstance(value, str) else setting
