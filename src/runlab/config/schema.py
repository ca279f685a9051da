"""What a configuration may hold, and how each of its mistakes is told before a run begins."""

import difflib
import inspect
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from runlab.config import kinds
from runlab.config.axes import ABSENT, LARGEST, SMALLEST, Axes, check_rate, value_at
from runlab.measure import is_number, target_of

MOST = max(256, os.cpu_count() or 1)
"""Threads or processes that one command may ask for."""

LARGEST_SEED = 2**32 - 1
"""Which numpy takes."""

TESTED = ("best", "last", "averaged")
"""Which weights of a run can be tested and recorded."""

LONGEST_LIST, FEW = 260, 8
"""Characters of names that a sentence may list, and how many names it lists of more."""

HYDRA_KEYS = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}


SCHEDULE_KEYS = {"interval", "frequency", "monitor"}
"""Of `scheduler`, beside the parameters of its `_target_`: when it steps, and by which metric."""

TOTAL = "total_steps"
"""Stands for a number in a schedule's parameters: the length of training."""

OPEN_GROUPS = ("optimizer", "scheduler")
"""Whose files hold what differs from torch's defaults alone: any parameter may be overridden."""


@dataclass
class RunLocation:
    """Where a run stands in its sweep; Hydra fills it in."""

    name: str = MISSING
    label: str = MISSING
    position: str = MISSING
    folder: str = MISSING
    overrides: list[str] = MISSING
    choices: dict[str, Any] = MISSING


class Retry(Enum):
    """Which runs that ended badly are trained again."""

    failed = "failed"


@dataclass
class ComparisonConfig:
    """What is declared of a sweep's comparison before its runs are seen.

    Attributes:
        arm: the key that names arms; null: whatever varies does.
        rate: the key of which each arm has its best value chosen; null: none.
        metric: the primary measure, by its name; null: the first that the module declares.
        margin: the largest difference that does not matter, in the measure's unit: of measures by
            their names, or a number for the primary one.
        sections: importable names of parts of its page.
        outputs: importable names of functions that get it once it is written.
        arm_styles: colour and marker by arm, in the order in which they are shown.
    """

    arm: str | None = "loss"
    rate: str | None = "optimizer.lr"
    metric: str | None = None
    margin: Any = None
    sections: list[str] | None = None
    outputs: list[str] | None = None
    arm_styles: dict[str, Any] | None = None


@dataclass
class Pretrained:
    """Where a network's initial weights come from.

    Attributes:
        file: a `state_dict`, or a run's checkpoint; without one they are drawn by the seed.
        into: the part of the network that gets them; the whole one by default.
        leave_out: patterns of names that stay as they are built.
        sha256: of the file; filled in, and checked where it is given.
    """

    file: str | None = None
    into: str | None = None
    leave_out: list[str] = field(default_factory=list)
    sha256: str | None = None


@dataclass
class Train:
    """Every top-level key of a training configuration; any other is a typing error."""

    name: str = MISSING
    seed: int = MISSING
    threads: int = MISSING
    test_weights: str = "best"
    keep_checkpoints: bool = True
    overwrite: bool = False
    retry: Retry | None = None
    fail_fast: bool = False
    detach: bool = False
    objective: str | None = None
    data_dir: str = MISSING
    watchers: dict[str, bool] = field(default_factory=dict)
    comparison: ComparisonConfig = field(default_factory=ComparisonConfig)
    run: RunLocation = field(default_factory=RunLocation)
    module: Any = MISSING
    data: Any = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = None
    metric: Any = None
    parameter_groups: list[Any] | None = None
    pretrained: Pretrained | None = field(default_factory=Pretrained)
    trainer: Any = MISSING
    logger: Any = None
    callback: Any = None


def check(config: Mapping[str, Any]) -> None:
    """Raises ValueError for a value that no run can be trained with, before anything is written."""
    keys = {each.name for each in fields(Train)}
    for key in config.keys() - keys:
        raise ValueError(unknown(key, key, "key", keys - {"run"}))
    check_axes(config)
    epochs = config["trainer"].get("max_epochs", 1)
    if not kinds.is_whole(epochs) or epochs < 1:
        raise ValueError(
            f"expected trainer.max_epochs of at least 1, a whole number, got {epochs!r}"
        )
    if not 0 <= config["seed"] <= LARGEST_SEED:
        raise ValueError(f"expected seed to be 0 to {LARGEST_SEED}, got {config['seed']}")
    tested = config.get("test_weights", "best")
    if tested not in TESTED:
        raise ValueError(f"expected test_weights to be one of {', '.join(TESTED)}, got {tested!r}")
    check_counts(config)
    check_margin("comparison.margin", value_at(config, "comparison.margin"))
    check_nodes(config)
    check_limits(config["trainer"])
    for group, node in config.items():
        own = SCHEDULE_KEYS if group == "scheduler" else set()
        checked = without_measures(node) if group == "metric" else without_keys(node, own)
        check_parameters(checked, group)


def check_nodes(config: Mapping[str, Any]) -> None:
    """Raises ValueError for what should be built, and has no `_target_` to be built by."""
    for group in ("callback", "logger"):
        for name, node in (config.get(group) or {}).items():
            if not isinstance(node, Mapping) or "_target_" not in node:
                raise ValueError(
                    f"expected {group}.{name} with a _target_, got {kinds.shown(node)}: give one, "
                    f"or remove it by '~{group}.{name}'"
                )
    for group in ("module", "data", "model", "loss", "optimizer", "scheduler", "trainer"):
        node = config.get(group)
        if isinstance(node, Mapping) and node and "_target_" not in node:
            raise ValueError(
                f"expected {group} with a _target_, got none beside {', '.join(node)}: choose "
                f"{group}=…, or give one"
            )


LEAST = {
    "check_val_every_n_epoch": 1,
    "limit_train_batches": 1e-9,
    "limit_test_batches": 1e-9,
    "log_every_n_steps": 0,
    "reload_dataloaders_every_n_epochs": 0,
    "val_check_interval": 1e-9,
}
"""Of flags of the Trainer, where Lightning would divide by 0, or leave out what makes a run."""


def check_limits(trainer: Mapping[str, Any]) -> None:
    """Raises ValueError for flags of the Trainer with which a run has no training or no test."""
    for name, least in LEAST.items():
        value = trainer.get(name)
        if value is not None and is_number(value) and value < least:
            above = f"of at least {least}" if isinstance(least, int) else "above 0"
            raise ValueError(f"expected trainer.{name} {above}, got {value}")
    if trainer.get("max_steps") == 0:
        raise ValueError("expected trainer.max_steps of at least 1, or -1 for no limit, got 0")
    epochs: Any = trainer.get("max_epochs", 1)
    every = trainer.get("check_val_every_n_epoch")
    if isinstance(every, int) and every > epochs:
        raise ValueError(
            f"expected trainer.check_val_every_n_epoch of at most trainer.max_epochs, {epochs}, "
            f"got {every}: a run would have no validation"
        )
    algorithm = trainer.get("gradient_clip_algorithm")
    if algorithm not in (None, "norm", "value"):
        raise ValueError(
            f"expected trainer.gradient_clip_algorithm to be norm or value, got {algorithm!r}"
        )


BUILT_BY_THEMSELVES = ("data", "model", "loss", "metric", "callback", "logger")
"""Groups whose nodes have all that their `_target_` needs; others get the rest by the engine."""


def required_parameters(target: Any) -> list[str]:
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:
        return []
    kinds_ = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [each.name for each in parameters if each.default is each.empty and each.kind in kinds_]


def check_margin(key: str, margin: Any) -> None:
    """Raises ValueError unless it is null, a number above 0, or one for each of some measures.

    Above 0 is what can be drawn: at least 1e-30.
    """
    if isinstance(margin, Mapping):
        for name, each in margin.items():
            check_margin(f"{key}.{name}", each)
    elif margin not in (None, ABSENT) and not _is_margin(margin):
        raise ValueError(f"expected {key} above 0, in the measure's unit, or null, got {margin!r}")


def _is_margin(margin: Any) -> bool:
    return is_number(margin) and SMALLEST <= margin <= LARGEST


def without_measures(node: Any) -> Any:
    """The group `metric` without what its nodes declare besides their metrics' parameters."""
    if not isinstance(node, Mapping):
        return node
    return {
        name: {key: value for key, value in each.items() if key != "measure"}
        for name, each in node.items()
        if isinstance(each, Mapping)
    }


def without_keys(node: Any, keys: Iterable[str]) -> Any:
    return {k: v for k, v in node.items() if k not in keys} if isinstance(node, Mapping) else node


def check_axes(config: Mapping[str, Any]) -> None:
    """Raises ValueError where runs could not be compared by the keys that they name."""
    axes = Axes.of(config)
    axes.require_distinct()
    for key in dict.fromkeys(filter(None, (axes.rate, "optimizer.lr"))):
        value = value_at(config, key)
        if value is not ABSENT:
            check_rate(key, value)


def check_counts(config: Mapping[str, Any]) -> None:
    """Raises ValueError where a run would start more threads or processes than a machine can."""
    check_count("threads", config.get("threads"))
    if (workers := value_at(config, "data.num_workers")) is not ABSENT:
        check_count("data.num_workers", workers, least=0)
    devices = value_at(config, "trainer.devices")
    if isinstance(devices, list):
        check_count("the number of trainer.devices", len(devices))
    elif str(devices).isdecimal():  # else auto
        check_count("trainer.devices", int(devices))


def check_count(key: str, value: Any, least: int = 1, most: int = MOST) -> None:
    """Raises ValueError for a number of threads, processes or the like that no machine can start.

    More than a machine has are allowed: their number may decide about a result's last digits.
    """
    if not kinds.is_whole(value) or not least <= value <= most:
        raise ValueError(f"expected {key} to be a whole number of {least} to {most}, got {value!r}")


def check_parameters(node: Any, path: str) -> None:
    """Raises ValueError where a node gives its `_target_` a parameter that it does not take.

    Or a value of another kind than its annotation says.
    """
    if isinstance(node, list):
        for index, child in enumerate(node):
            check_parameters(child, f"{path}[{index}]")
    if not isinstance(node, Mapping):
        return
    if "_target_" in node:
        target = target_of(path, node)
        valid = accepted_parameters(target)
        for key in () if valid is None else sorted(node.keys() - HYDRA_KEYS - valid):
            raise ValueError(unknown(f"{path}.{key}", key, "parameter", valid or ()))
        is_whole = path.partition(".")[0] in BUILT_BY_THEMSELVES and not (
            node.get("_partial_") or "_args_" in node
        )
        for key in required_parameters(target) if is_whole else ():
            if key not in node:
                raise ValueError(
                    f"expected {path}.{key}, which {node['_target_']} needs, got none: give "
                    f"+{path}.{key}=…"
                )
        annotations = kinds.annotations_of(target)
        for key in annotations.keys() & node.keys():
            if key in ("mode", "accelerator", "devices"):
                continue  # of which more is said by what follows a metric, and by `runs.devices`
            if TOTAL not in str(node[key]):
                kinds.check_kind(f"{path}.{key}", node[key], annotations[key])
    for key, child in node.items():
        check_parameters(child, f"{path}.{key}")


def accepted_parameters(target: Any) -> set[str] | None:
    """The names that a class or function takes by keyword; None if it takes any.

    A class that passes the rest on, by `**kwargs`, takes what its base class takes too.
    """
    try:
        signature = inspect.signature(target).parameters
    except ValueError:  # of some classes that are written in C, such as timedelta
        return None
    names = {name for name, p in signature.items() if p.kind is not p.VAR_KEYWORD}
    if len(names) == len(signature):
        return names
    bases = [each for each in getattr(target, "__mro__", ())[1:] if "__init__" in vars(each)]
    inherited = accepted_parameters(bases[0]) if bases and bases[0] is not object else None
    return None if inherited is None else names | inherited


def unknown(got: str, key: str, kind: str, valid: Iterable[str]) -> str:
    """One sentence: what is not known, the nearest that is, and those that are, if not too many."""
    valid = sorted(valid)
    nearest = difflib.get_close_matches(key, valid, n=1)
    suggestion = f" did you mean {nearest[0]}?" if nearest else ""
    shown = valid if len(", ".join(valid)) <= LONGEST_LIST else valid[:FEW]
    more = f" and {len(valid) - len(shown)} more" if len(shown) < len(valid) else ""
    return f"unknown {kind} {got};{suggestion} expected one of: {', '.join(shown)}{more}"


def schema() -> DictConfig:
    """`Train` as Hydra merges the files into it; in open groups a key needs no plus."""
    node: DictConfig = OmegaConf.structured(Train)
    with open_dict(node):
        node.update({each: OmegaConf.create({}, flags={"struct": False}) for each in OPEN_GROUPS})
    return node


ConfigStore.instance().store(name="schema", node=schema(), provider="runlab")
