"""The learning rates of steps that are not taken yet."""

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class ChangesMoreError(Exception):
    """A schedule changes something besides the learning rate; the message says what."""


@dataclass
class Foreseen:
    """Each step's learning rate, and how optimizer and schedule will be after them."""

    rates: Float[Tensor, " steps"]
    settings: dict[str, Any]
    state: dict[str, Any]

    def come_true(self, optimizer: Optimizer, scheduler: LRScheduler | None) -> None:
        optimizer.param_groups[0].update(self.settings)
        optimizer._opt_called = True  # type: ignore[attr-defined]  # or the schedule's step warns
        if scheduler is not None:
            scheduler.load_state_dict(self.state)


def foresee(optimizer: Optimizer, scheduler: LRScheduler | None, steps: int) -> Foreseen:
    """Steps the schedule, which is left as it was.

    Raises:
        ChangesMoreError: if that changes more than the rate.
    """
    [group] = optimizer.param_groups
    before = settings(group)
    if scheduler is None:
        rates = torch.full((steps,), float(group["lr"]), dtype=torch.float64)
        return Foreseen(rates, before, {})
    state = copy.deepcopy(scheduler.state_dict())
    found, seen = [], []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        for _ in range(steps):
            found.append(float(group["lr"]))
            scheduler.step()
            seen += [key for key in before if key != "lr" and group[key] != before[key]]
    after = Foreseen(
        torch.tensor(found, dtype=torch.float64),
        settings(group),
        copy.deepcopy(scheduler.state_dict()),
    )
    scheduler.load_state_dict(state)
    group.update(before)
    if seen:
        raise ChangesMoreError(f"its schedule changes {seen[0]} besides the learning rate")
    return after


def settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}
