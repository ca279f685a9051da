"""The learning rates of a block's steps, computed before the steps are taken."""

import copy
import warnings
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
    """Each step's learning rate, and what optimizer and schedule hold after all of the steps."""

    learning_rates: Float[Tensor, " steps"]
    settings: dict[str, Any]
    state: dict[str, Any]

    def apply(self, optimizer: Optimizer, scheduler: LRScheduler | None) -> None:
        """Leaves both as if the steps had been taken one by one."""
        optimizer.param_groups[0].update(self.settings)
        optimizer._opt_called = True  # type: ignore[attr-defined]  # or the schedule's step warns
        if scheduler is not None:
            scheduler.load_state_dict(self.state)


def precompute_lrs(
    optimizer: Optimizer, scheduler: LRScheduler | None, steps: int
) -> PrecomputedSchedule:
    """Steps a schedule so often, reads the learning rates, and leaves it as it was.

    Raises:
        ScheduleError: if a step changes more than the learning rate.
    """
    [group] = optimizer.param_groups
    before = settings(group)
    if scheduler is None:
        constant = torch.full((steps,), float(group["lr"]), dtype=torch.float64)
        return PrecomputedSchedule(constant, before, {})
    state = copy.deepcopy(scheduler.state_dict())
    learning_rates: list[float] = []
    changed: list[str] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        for _ in range(steps):
            learning_rates.append(float(group["lr"]))
            scheduler.step()
            changed += [key for key in before if key != "lr" and group[key] != before[key]]
    after = PrecomputedSchedule(
        torch.tensor(learning_rates, dtype=torch.float64),
        settings(group),
        copy.deepcopy(scheduler.state_dict()),
    )
    scheduler.load_state_dict(state)
    group.update(before)
    if changed:
        raise ScheduleError(f"its schedule changes {changed[0]} besides the learning rate")
    return after


def settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}
