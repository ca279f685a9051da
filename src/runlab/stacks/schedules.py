"""The learning rates of a block's steps, computed before the steps are taken."""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class ScheduleError(Exception):
    """A schedule changes something besides the learning rate; the message says what."""


@dataclass
class PrecomputedSchedule:
    """Each step's learning rates, and what optimizer and schedule hold after all of the steps."""

    learning_rates: Float[Tensor, "steps groups"]
    settings: list[dict[str, Any]]
    state: dict[str, Any]

    def apply(self, optimizer: Optimizer, scheduler: LRScheduler | None) -> None:
        """Leaves both as if the steps had been taken one by one."""
        update_groups(optimizer, self.settings)
        optimizer._opt_called = True  # type: ignore[attr-defined]  # or the schedule's step warns
        if scheduler is not None:
            scheduler.load_state_dict(self.state)


def precompute_lrs(
    optimizer: Optimizer, scheduler: LRScheduler | None, due: Sequence[bool]
) -> PrecomputedSchedule:
    """Steps a schedule after the steps where it is due, reads the learning rates, and leaves it.

    Raises:
        ScheduleError: if a step changes more than the learning rates.
    """
    before = settings(optimizer)
    if scheduler is None:
        constant = torch.tensor([lrs(optimizer)], dtype=torch.float64).expand(len(due), -1)
        return PrecomputedSchedule(constant, before, {})
    state = copy.deepcopy(scheduler.state_dict())
    learning_rates: list[list[float]] = []
    changed: list[str] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        for is_due in due:
            learning_rates.append(lrs(optimizer))
            if is_due:
                scheduler.step()
            changed += changes(before, optimizer)
    after = PrecomputedSchedule(
        torch.tensor(learning_rates, dtype=torch.float64),
        settings(optimizer),
        copy.deepcopy(scheduler.state_dict()),
    )
    scheduler.load_state_dict(state)
    update_groups(optimizer, before)
    if changed:
        raise ScheduleError(f"its schedule changes {changed[0]} besides the learning rate")
    return after


def lrs(optimizer: Optimizer) -> list[float]:
    """Of each group."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Of each group, all but its parameters."""
    groups = optimizer.param_groups
    return [{key: value for key, value in group.items() if key != "params"} for group in groups]


def update_groups(optimizer: Optimizer, settings: list[dict[str, Any]]) -> None:
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)


def changes(before: list[dict[str, Any]], optimizer: Optimizer) -> list[str]:
    """Which settings are others, besides learning rates."""
    pairs = zip(before, optimizer.param_groups, strict=True)
    return [key for old, group in pairs for key in old if key != "lr" and group[key] != old[key]]
