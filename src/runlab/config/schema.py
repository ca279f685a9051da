"""What a configuration may hold, and the name of the run that it describes."""

import difflib
import inspect
import os
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf

from runlab.config import fingerprint
from runlab.runs import record
from runlab.text import file_name

SWEEP_SIZE = "RUNLAB_SWEEP_SIZE"  # tells the runs, in whatever process, how many they are
SWEPT = "RUNLAB_SWEPT"  # and in which keys they differ

HYDRA_KEYS = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}
NAMED_ELSEWHERE = {"loss", "optimizer.lr", "seed", "experiment"}  # what an experiment sets is seen


@dataclass
class Run:
    """Where a run stands in its sweep; Hydra knows."""

    name: str = MISSING
    position: str = MISSING
    folder: str = MISSING
    overrides: list[str] = MISSING
    choices: dict[str, Any] = MISSING


class Retry(Enum):
    """Which runs that ended badly are trained again."""

    failed = "failed"


@dataclass
class Comparison:
    """What is declared of a sweep's comparison before its runs are seen."""

    margin: float | None = None


@dataclass
class Train:
    """Every top-level key of a training configuration; any other is a typing error."""

    name: str = MISSING
    seed: int = MISSING
    threads: int = MISSING
    gradient_clip: float | None = None
    overwrite: bool = False
    retry: Retry | None = None
    fail_fast: bool = False
    objective: str | None = None
    data_dir: str = MISSING
    comparison: Comparison = field(default_factory=Comparison)
    run: Run = field(default_factory=Run)
    data: Any = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = None
    trainer: Any = MISSING
    logger: Any = None
    callback: Any = None


def check(config: Mapping[str, Any]) -> None:
    """Raises ValueError for a value that no run can be trained with, before anything is written."""
    keys = {each.name for each in fields(Train)}
    for key in config.keys() - keys:
        raise ValueError(unknown(key, key, "key", keys - {"run"}))
    rate = config["optimizer"].get("lr")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < float("inf"):
        raise ValueError(f"expected optimizer.lr to be a finite number of at least 0, got {rate!r}")
    epochs = config["trainer"].get("max_epochs", 1)
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise ValueError(
            f"expected trainer.max_epochs of at least 1, a whole number, got {epochs!r}"
        )
    if config["seed"] < 0:
        raise ValueError(f"expected seed to be at least 0, got {config['seed']}")
    if config["threads"] < 1:
        raise ValueError(f"expected threads of at least 1, got {config['threads']}")
    margin = record.nested_dict(config, "comparison").get("margin")  # older records have none
    if margin is not None and not 0 < margin < 100:
        raise ValueError(
            f"expected comparison.margin in points, above 0 and under 100, or null, got {margin}"
        )
    if config["name"] in ("", ".", "..") or "/" in config["name"]:
        raise ValueError(f"expected name to be a folder's name without '/', got {config['name']!r}")
    for group, node in config.items():
        check_parameters(node, group)


def check_parameters(node: Any, path: str) -> None:
    """Raises ValueError where a node gives its `_target_` a parameter that it does not take."""
    if isinstance(node, list):
        for index, child in enumerate(node):
            check_parameters(child, f"{path}[{index}]")
    if not isinstance(node, Mapping):
        return
    if "_target_" in node:
        try:
            target = pkgutil.resolve_name(node["_target_"])
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"cannot import {path}._target_={node['_target_']}: {error}") from None
        signature = inspect.signature(target).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in signature.values()):
            for key in node.keys() - HYDRA_KEYS - signature.keys():
                raise ValueError(unknown(f"{path}.{key}", key, "parameter", signature.keys()))
    for key, child in node.items():
        check_parameters(child, f"{path}.{key}")


def unknown(got: str, key: str, kind: str, valid: Iterable[str]) -> str:
    """One sentence: what is not known, the nearest that is, and all that are."""
    valid = sorted(valid)
    nearest = difflib.get_close_matches(key, valid, n=1)
    suggestion = f" did you mean {nearest[0]}?" if nearest else ""
    return f"unknown {kind} {got};{suggestion} expected one of: {', '.join(valid)}"


def others(cfg: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """What was overridden beyond loss, learning rate and seed: values by their short keys.

    A short key is the last part of a dotted key, or the whole key where that would be ambiguous.
    Values are the configuration's, so that `.5` and `5e-1` are one; of a group it is the choice.
    """
    texts = {fingerprint.key_of(each): each.partition("=")[2] for each in overrides}
    if only_watches(texts.get("callback", "")):
        del texts["callback"]
    keys = sorted(key for key in texts.keys() - NAMED_ELSEWHERE if fingerprint.affects_result(key))
    stems = [key.rsplit(".", 1)[-1] for key in keys]
    taken = {"loss", "lr", "seed"} | {stem for stem in stems if stems.count(stem) > 1}
    values = {}
    for key, stem in zip(keys, stems, strict=True):
        value = OmegaConf.select(cfg, key)
        if OmegaConf.is_list(value):
            value = f"[{','.join(map(str, value))}]"
        is_group = OmegaConf.is_dict(value) or value is None
        values[key if stem in taken else stem] = texts[key] if is_group else value
    return values


def only_watches(choice: str) -> bool:
    """Whether callbacks chosen as `[default,histograms]` are the default and some that watch."""
    names = {name.strip() for name in choice.strip("[]").split(",")}
    others = names - {"default"}
    return others < names and not any(
        fingerprint.affects_result(f"callback.{name}") for name in others
    )


def run_name(
    loss: str, learning_rate: object, seed: int, overrides: Sequence[str], *, _root_: DictConfig
) -> str:
    """A run's folder under its sweep: `loss=mse,lr=0.1,seed=0`, then whatever else was overridden.

    It does not depend on the order of the overrides, is safe as a file name (what is not is
    percent-encoded), and never longer than one may be.
    """
    parts = {"loss": loss, "lr": learning_rate, "seed": seed} | others(_root_, overrides)
    return file_name(",".join(f"{key}={value}" for key, value in parts.items()))


def swept(cfg: DictConfig) -> dict[str, Any]:
    """Loss, learning rate and seed, and what else tells this run from the others of its multirun.

    As plain values for a table of hyperparameters. Of a run by itself, whatever was overridden.
    """
    named = {"loss": cfg.run.choices["loss"], "lr": cfg.optimizer.lr, "seed": cfg.seed}
    overrides = list(cfg.run.overrides)
    if is_multirun() and SWEPT in os.environ:  # set by our sweeper; others do not tell
        keys = os.environ[SWEPT].split(",")
        overrides = [each for each in overrides if fingerprint.key_of(each) in keys]
    return named | others(cfg, overrides)


def is_multirun() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def place() -> dict[str, int] | None:
    """Which run of a multirun this is, from 1, of how many; None for a single run."""
    if not is_multirun():
        return None
    size = HydraConfig.get().sweeper.get("n_trials", os.environ.get(SWEEP_SIZE))  # Optuna's, ours
    if size is None:
        return None
    return {"number": HydraConfig.get().job.num + 1, "of": int(size)}


def position() -> str:
    """`[12/300] ` for the twelfth of a sweep's 300 runs; empty for a single run."""
    here = place()
    if here is None:
        return ""
    return f"[{here['number']:{len(str(here['of']))}d}/{here['of']}] "


ConfigStore.instance().store(name="schema", node=Train, provider="losslab")
OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("position", position, replace=True)
