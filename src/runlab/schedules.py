"""Learning-rate schedules of a configuration: how they are made, how long they are, when they step.

A schedule steps in the unit of its `interval`: after optimizer steps (`step`), or after the last
one of an epoch (`epoch`). `ReduceLROnPlateau` steps after a validation, by the metric `monitor`.
"""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.trainer.connectors import data_connector
from lightning.pytorch.trainer.states import RunningStage, TrainerFn
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from lightning.pytorch.utilities.data import sized_len
from lightning.pytorch.utilities.types import LRSchedulerConfig
from omegaconf import DictConfig, OmegaConf
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from runlab.config import targets
from runlab.config.kinds import is_whole
from runlab.config.messages import reason_of, require_not_raised_by
from runlab.config.schema import SCHEDULE_KEYS, unknown

INTERVALS = ("step", "epoch")

LENGTHS = ("total_steps", "T_max")
"""Parameters by which a schedule asks for its length; it gets that where the YAML gives none."""

TOTAL = re.compile(r"(?:(\d*\.?\d+)\s*\*\s*)?total_steps")
"""A text of the YAML that stands for a schedule's length, or for a part of it."""


class ScheduleFactory:
    """Makes a schedule from an optimizer, as Lightning's `configure_optimizers` returns it.

    Args:
        scheduler: called with the optimizer. So is each schedule among its parameters.
        interval: `step` or `epoch`.
        frequency: it steps after every so many of them.
        monitor: the metric that a `ReduceLROnPlateau` gets.

    Attributes:
        module: that is trained; its trainer knows how long training is.

    Raises:
        ValueError: for what cannot be.
    """

    def __init__(
        self,
        scheduler: "partial[Any]",
        interval: str = "step",
        frequency: int = 1,
        monitor: str | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.is_by_metric = scheduler.func is ReduceLROnPlateau
        self.interval = "epoch" if self.is_by_metric else interval
        self.frequency, self.monitor = frequency, monitor
        self.module: L.LightningModule | None = None
        require_settings(scheduler, interval, frequency, monitor)

    @property
    def mode(self) -> str | None:
        """Of a schedule by a metric: which of two values is better, max or min."""
        return self.scheduler.keywords.get("mode") if self.is_by_metric else None

    def __call__(self, optimizer: Optimizer) -> dict[str, Any]:
        made = complete(self.scheduler, optimizer, self.length, asks=True)
        config = {"scheduler": made, "interval": self.interval, "frequency": self.frequency}
        return config | ({"monitor": self.monitor} if self.is_by_metric else {})

    def length(self) -> int:
        """How often it will step: the optimizer steps, or the epochs, that will be trained."""
        assert self.module is not None
        count = total_epochs if self.interval == "epoch" else total_steps
        return max(1, count(self.module.trainer) // self.frequency)

    def __deepcopy__(self, memo: Any) -> "ScheduleFactory":
        return self  # a copy of the module, as callbacks make, trains nothing


def build_schedule_factory(node: DictConfig | None) -> ScheduleFactory | None:
    """Of a configuration's `scheduler`; None for a learning rate that stays."""
    if not node:
        return None
    plain: Any = OmegaConf.to_container(node, resolve=True)
    own = {key: plain.pop(key) for key in SCHEDULE_KEYS & plain.keys()}
    if not takes_optimizer(targets.locate("scheduler._target_", plain["_target_"])):
        raise ValueError(
            "expected scheduler._target_ to name a schedule, which takes the optimizer, got "
            f"{plain['_target_']}: choose scheduler=…"
        )
    return ScheduleFactory(instantiate(left_to_call(plain) | {"_convert_": "all"}), **own)


def left_to_call(node: Any) -> Any:
    """The node, each schedule in it left to be called with the optimizer."""
    if isinstance(node, list):
        return [left_to_call(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    children = {key: left_to_call(child) for key, child in node.items()}
    if "_target_" in node and takes_optimizer(targets.locate("_target_", node["_target_"])):
        return children | {"_partial_": True}
    return children


def require_settings(
    scheduler: "partial[Any]", interval: str, frequency: int, monitor: str | None
) -> None:
    if interval not in INTERVALS:
        raise ValueError(f"expected scheduler.interval to be step or epoch, got {interval!r}")
    if not is_whole(frequency) or frequency < 1:
        raise ValueError(f"expected scheduler.frequency of at least 1, got {frequency!r}")
    is_by_metric = scheduler.func is ReduceLROnPlateau
    if is_by_metric and monitor is None:
        raise ValueError(
            "expected scheduler.monitor, the metric that ReduceLROnPlateau follows, such as "
            "val/loss, got none"
        )
    if not is_by_metric and monitor is not None:
        name = scheduler.func.__name__
        raise ValueError(
            f"expected no scheduler.monitor, since {name} follows no metric, got {monitor}"
        )
    if is_by_metric and scheduler.keywords.get("mode") not in ("min", "max"):
        raise ValueError(
            f"expected scheduler.mode=min or max, whichever is better of {monitor}, got "
            f"{scheduler.keywords.get('mode')}: the module declares no such measure, so say it"
        )
    require_parameters("scheduler", scheduler, asks=True)


def require_parameters(key: str, made: Any, asks: bool = False) -> None:
    """Raises ValueError for a schedule, or one among its parameters, that lacks one of its own."""
    if not isinstance(made, partial):
        return
    if takes_optimizer(made.func):
        given = {"optimizer", *made.keywords, *(LENGTHS if asks else ())}
        for name, each in inspect.signature(made.func).parameters.items():
            is_needed = each.default is each.empty and each.kind in (
                each.POSITIONAL_OR_KEYWORD,
                each.KEYWORD_ONLY,
            )
            if is_needed and name not in given:
                raise ValueError(f"expected {key}.{name} for {made.func.__name__}, got none")
    for name, child in made.keywords.items():
        for index, each in enumerate(child if isinstance(child, list) else [child]):
            require_parameters(f"{key}.{name}" + f"[{index}]" * isinstance(child, list), each)


def takes_optimizer(target: Callable[..., Any]) -> bool:
    return callable(target) and "optimizer" in inspect.signature(target).parameters


def complete(
    value: Any, optimizer: Optimizer, length: Callable[[], int], asks: bool = False
) -> Any:
    """The value, its schedules made, and its texts of `total_steps` as numbers.

    Args:
        asks: whether the schedule gets its length where it asks for it and has none.
    """
    if isinstance(value, list):
        return [complete(each, optimizer, length) for each in value]
    if isinstance(value, str) and (found := TOTAL.fullmatch(value)):
        return math.ceil(round(float(found[1] or 1) * length(), 6))  # no part of 0 steps
    if not isinstance(value, partial):
        return value
    given = {key: complete(each, optimizer, length) for key, each in value.keywords.items()}
    if not takes_optimizer(value.func):
        return partial(value.func, *value.args, **given)
    taken = inspect.signature(value.func).parameters
    if asks and "epochs" not in given:  # OneCycleLR's other way to say it
        given |= {key: length() for key in LENGTHS if key in taken and given.get(key) is None}
    try:
        return value.func(*value.args, optimizer=optimizer, **given)
    except Exception as error:
        reason = reason_of(error)
        raise ValueError(f"cannot build scheduler by {value.func.__name__}: {reason}") from error


# How long training is


def total_steps(trainer: L.Trainer) -> int:
    """The optimizer steps that a fit will take, unless something ends it early.

    Raises:
        ValueError: if that is not known.
    """
    ends = []
    if trainer.max_steps != -1:
        ends.append(trainer.max_steps)
    if trainer.max_epochs not in (None, -1) and (steps := steps_of_epoch(trainer)) != math.inf:
        ends.append(trainer.max_epochs * int(steps))
    if not ends:
        raise ValueError(
            "expected trainer.max_steps, or trainer.max_epochs over training data with a length, "
            "for a schedule that asks how long training is, got neither: give trainer.max_steps"
        )
    return min(ends)


def total_epochs(trainer: L.Trainer) -> int:
    """The epochs that a fit will train, the last one perhaps in part."""
    if trainer.max_steps == -1 and trainer.max_epochs not in (None, -1):
        return trainer.max_epochs
    return math.ceil(total_steps(trainer) / steps_of_epoch(trainer)) or 1


def steps_of_epoch(trainer: L.Trainer) -> float:
    """The optimizer steps of a whole epoch of a fit that is about to begin.

    Its data are asked for a loader of their own, since Lightning starts the one that it trains on.
    A block of batches is one to Lightning. An epoch's last step may be of fewer batches.
    """
    with torch.random.fork_rng(devices=[]):  # whatever making a loader draws
        loader = data_connector._request_dataloader(trainer.fit_loop._data_source)
    combined = loader if isinstance(loader, CombinedLoader) else CombinedLoader(loader)
    lengths = [batches_of(each, trainer) for each in combined.flattened]
    mode = combined._mode if combined is loader else "max_size_cycle"  # Lightning's own
    batches = sum(lengths) if mode == "sequential" else max(lengths)
    batches = min(lengths) if mode == "min_size" else batches
    if batches == math.inf:
        return batches
    module = trainer.lightning_module
    accumulated = getattr(module, "accumulate_grad_batches", trainer.accumulate_grad_batches)
    return math.ceil(getattr(loader, "steps_in", int)(int(batches)) / accumulated)


def batches_of(loader: Any, trainer: L.Trainer) -> float:
    """How many batches of a loader an epoch has; infinitely many where it has no length."""
    stage = RunningStage.TRAINING
    used = data_connector._process_dataloader(trainer, TrainerFn.FITTING, stage, loader)
    length = sized_len(used)
    known = math.inf if length is None else length
    return data_connector._parse_num_batches(stage, known, trainer.limit_train_batches)


# When a schedule steps


def for_lightning(made: LRScheduler | Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """What Lightning keeps of a schedule in manual optimization, and the metric that it monitors.

    A schedule alone steps with the optimizer.
    """
    if not isinstance(made, Mapping):
        return {"scheduler": made, "interval": "step"}, None
    return {key: value for key, value in made.items() if key != "monitor"}, made.get("monitor")


def step_schedules(trainer: L.Trainer, step: int, ends_epoch: bool) -> None:
    """Steps those that are due; raises ValueError, which names the scheduler, if one fails."""
    for schedule in schedules_due(trainer, step, ends_epoch):
        try:
            schedule.step()
        except Exception as error:
            require_not_raised_by("scheduler", schedule, error)
            raise


def schedules_due(trainer: L.Trainer, step: int, ends_epoch: bool) -> list[LRScheduler]:
    """The schedules that step after the optimizer step of this number, from 1.

    That of an epoch steps before its validation, as with Lightning, and so before a checkpoint.
    """
    due = []
    for config in trainer.lr_scheduler_configs:
        if config.interval == "step":
            is_due = step % config.frequency == 0
        else:
            is_due = ends_epoch and is_due_in_epoch(config, trainer)
        if is_due and not isinstance(config.scheduler, ReduceLROnPlateau):
            due.append(config.scheduler)
    return due


def is_due_in_epoch(config: LRSchedulerConfig, trainer: L.Trainer) -> bool:
    return (trainer.current_epoch + 1) % config.frequency == 0


def step_by_metric(trainer: L.Trainer, monitor: str | None) -> None:
    """Steps the schedules that follow a metric, after a validation.

    Raises:
        ValueError: if nothing has logged the metric.
    """
    for config in trainer.lr_scheduler_configs:
        if isinstance(config.scheduler, ReduceLROnPlateau) and is_due_in_epoch(config, trainer):
            metrics = trainer.callback_metrics
            if monitor not in metrics:
                own = f"scheduler.monitor={monitor}"
                raise ValueError(unknown(own, str(monitor), "metric", metrics))
            config.scheduler.step(float(metrics[monitor]))
