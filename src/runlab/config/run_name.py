"""The name of a run, its place in its sweep, and what tells it from the other runs there."""

import os
import re
from collections.abc import Collection
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import Container, DictConfig, OmegaConf

from runlab.config.axes import Axes
from runlab.config.fingerprint import affects_result, key_of, normalized, watchers_of
from runlab.config.parts import unused_groups
from runlab.config.weights import FILE, checksum, label
from runlab.measure import LOSS, declared_measures, mode_of
from runlab.text import LONGEST_FILE_NAME, file_name, printable

SWEEP_SIZE = "RUNLAB_SWEEP_SIZE"
"""An environment variable that tells the runs, in whatever process, how many they are."""

SWEPT_KEYS = "RUNLAB_SWEPT_KEYS"
"""And in which keys they differ."""

LAUNCH = "RUNLAB_LAUNCH"
"""And which command launched them."""

PLACE = ("run.name", "run.label", "run.position", "run.folder")
"""What says where a run lies in its sweep."""


def run_label(*, _root_: DictConfig) -> str:
    """What tells a run from the others of its sweep, to be read: `mse lr 0.2 seed 3`."""
    arm = Axes.of(_root_).names().get(str(Axes.of(_root_).arm))
    parts = [
        value if key == arm and isinstance(value, str) else f"{key} {value}"
        for key, value in swept_hparams(_root_).items()
    ]
    return printable(" ".join(parts))


def axis_values(cfg: DictConfig) -> dict[str, Any]:
    """What places the run in its sweep: arm, rate and seed by their keys, as far as it has them.

    The arm is the choice of a group, or else the configuration's value. What nothing is built of
    for the run's module, such as the loss of one that takes none, the run does not have.
    """
    axes, choices, unused = Axes.of(cfg), cfg.run.choices, unused_groups_of(cfg)
    found = {
        key: choices[key] if key == axes.arm and key in choices else value_of(cfg, key)
        for key in axes.keys
        if key.partition(".")[0] not in unused
    }
    return {
        key: as_text_or_number(key, value)
        for key, value in found.items()
        if value is not None and not OmegaConf.is_dict(value)
    }


def value_of(cfg: DictConfig, key: str) -> Any:
    """As the configuration has it; of a file of weights it is what tells it from other files."""
    value = OmegaConf.select(cfg, key)
    return label(value, checksum(value)) if key == FILE and value is not None else value


def unused_groups_of(cfg: DictConfig) -> set[str]:
    """None where the module cannot be imported, which training says."""
    try:
        return unused_groups(cfg.module)
    except ValueError:
        return set()


def extra_overrides(cfg: DictConfig, overrides: Any) -> dict[str, Any]:
    """What was overridden beyond arm, rate and seed: values by their short keys.

    A short key is the last part of a dotted key, or the whole key where that would be ambiguous.
    A class that is added by `+metric.auc._target_=…` has the key `metric.auc`.
    Values are the configuration's, so that `.5` and `5e-1` are one; of a group it is the choice.
    What an experiment sets is no override: where a multirun has several, they are among the keys.
    """
    watchers, names, placed = watchers_of(cfg), Axes.of(cfg).names(), axis_values(cfg).keys()
    given = as_given(overrides)
    texts = {key_of(each): each.partition("=")[2] for each in given}
    added = {key_of(each) for each in given if re.match(r"\+[^+=]+\._target_=", each)}
    if any("$" in text for text in texts.values()):  # Hydra may have escaped a brace after it
        cfg = without_place(cfg)
    if only_watches(texts.get("callback", ""), watchers):
        del texts["callback"]
    elsewhere = {*placed, *(() if "experiment" in varied_keys() else ("experiment",))}
    keys = sorted(
        key
        for key in texts.keys() - elsewhere
        if affects_result(key, watchers) or (key == FILE and value_of(cfg, key) is not None)
    )
    stems = [
        key.removesuffix("._target_") if key in added else key.rsplit(".", 1)[-1] for key in keys
    ]
    taken = {names[key] for key in placed} | {stem for stem in stems if stems.count(stem) > 1}
    values = {}
    for key, stem in zip(keys, stems, strict=True):
        value = value_of(cfg, key)
        is_group = OmegaConf.is_dict(value) or value is None
        short = key if stem in taken else stem
        values[short] = texts[key] if is_group else as_text_or_number(key, value)
    return values


def as_text_or_number(key: str, value: Any) -> Any:
    """A setting's value in one form, a list as `[128,64]`."""
    if OmegaConf.is_list(value):
        items = normalized(key, OmegaConf.to_container(value, resolve=True))
        return f"[{','.join(map(str, items))}]"
    return normalized(key, value)


def as_given(overrides: Any) -> list[str]:
    """Their texts; in a configuration, `${run.name}` in one would be looked up.

    There, a text that holds an escaped `\\${` is taken as OmegaConf would read it: without escape.
    """
    if not OmegaConf.is_list(overrides):
        return list(overrides)
    texts: Any = OmegaConf.to_container(overrides)
    return [re.sub(r"(\\+)\$\{", lambda m: m[1][: len(m[1]) // 2] + "${", each) for each in texts]


def without_place(cfg: DictConfig) -> DictConfig:
    """The same, but values that name where the run lies keep `${run.name}` or `${run.folder}`.

    So the name of a run may be part of its settings, and settings part of its name.
    """
    nodes: Any = OmegaConf.to_container(cfg)
    nodes["run"] = {key.removeprefix("run."): rf"\${{{key}}}" for key in PLACE}
    return OmegaConf.create(nodes)


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Plain values, those of `without_place`; enumerations as their names.

    Raises:
        OmegaConfBaseException: for a value that is missing or cannot be resolved.
    """
    return plain(without_place(cfg))


def plain(cfg: Container) -> Any:
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True, enum_to_str=True)


def only_watches(choice: str, watchers: Collection[str]) -> bool:
    """Whether callbacks chosen as `[default,histograms]` are the default and some that watch."""
    names = {name.strip() for name in choice.strip("[]").split(",")}
    added = names - {"default"}
    return added < names and added <= {*watchers}


def run_name(*, _root_: DictConfig) -> str:
    """A run's folder under its sweep: `loss=mse,lr=0.1,seed=0`, then whatever else was overridden.

    The first parts are what `comparison.arm` and `comparison.rate` name. It does not depend on the
    order of the overrides, is safe as a file name (what is not is percent-encoded), and never
    longer than one may be.
    """
    parts = named_axes(_root_) | extra_overrides(_root_, _root_.run.overrides)
    return file_name(",".join(f"{key}={value}" for key, value in parts.items()))


def named_axes(cfg: DictConfig) -> dict[str, Any]:
    """`axis_values` by short keys."""
    names = Axes.of(cfg).names()
    return {names[key]: value for key, value in axis_values(cfg).items()}


def sweep_name(name: str) -> str:
    """The sweep's name, where Hydra makes a folder of it.

    Raises:
        ValueError: if it is none that a folder can have, whatever is written into that.
    """
    problem = ""
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        problem = "without '/'"
    elif not name.isprintable() or name != name.strip():
        problem = "of printable characters, without a blank at either end"
    elif len(name.encode()) > LONGEST_FILE_NAME:
        problem = f"of at most {LONGEST_FILE_NAME} bytes"
    if problem:
        raise ValueError(f"expected name to be a folder's name {problem}, got {name!r}")
    return name


def swept_hparams(cfg: DictConfig) -> dict[str, Any]:
    """Arm, rate and seed, and what else tells this run from the others of its multirun.

    As plain values for a table of hyperparameters. Of a run by itself, whatever was overridden.
    """
    overrides = as_given(cfg.run.overrides)
    if is_multirun() and SWEPT_KEYS in os.environ:
        overrides = [each for each in overrides if key_of(each) in varied_keys()]
    return named_axes(cfg) | extra_overrides(cfg, overrides)


def is_multirun() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def varied_keys() -> list[str]:
    """In which keys the runs of this multirun differ; our sweeper tells it, others do not."""
    return os.environ.get(SWEPT_KEYS, "").split(",") if is_multirun() else []


def launch() -> dict[str, Any] | None:
    """Which multirun this run is of, and what varies in it; None for a single run."""
    if not is_multirun() or LAUNCH not in os.environ:
        return None
    return {"id": os.environ[LAUNCH], "swept": varied_keys()}


def sweep_index() -> dict[str, int] | None:
    """Which run of a multirun this is, from 1, of how many; None for a single run."""
    if not is_multirun():
        return None
    size = HydraConfig.get().sweeper.get("n_trials", os.environ.get(SWEEP_SIZE))  # Optuna's, ours
    if size is None:
        return None
    return {"number": HydraConfig.get().job.num + 1, "of": int(size)}


def position() -> str:
    """`[12/300] ` for the twelfth of a sweep's 300 runs; empty for a single run."""
    index = sweep_index()
    if index is None:
        return ""
    return f"[{index['number']:{len(str(index['of']))}d}/{index['of']}] "


def mode(metric: str, *, _root_: DictConfig) -> str | None:
    """`max` or `min`, as the metric is declared; None if it is not."""
    return mode_of(metric, declared_measures(_root_))


def primary(*, _root_: DictConfig) -> str:
    """`val/<name>` of the primary measure."""
    measures = declared_measures(_root_)
    return f"val/{measures[0].name if measures else LOSS.name}"


OmegaConf.register_new_resolver("mode", mode, replace=True)
OmegaConf.register_new_resolver("primary", primary, replace=True)
OmegaConf.register_new_resolver("run_label", run_label, replace=True)
OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True)
OmegaConf.register_new_resolver("position", position, replace=True)
