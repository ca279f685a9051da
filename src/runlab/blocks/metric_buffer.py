"""What training measures at each block, and when it is looked at."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor

PATIENCE = 30.0
"""Seconds after which a dashboard should show what an epoch that goes on has measured."""


class Point(NamedTuple):
    """One value of a curve.

    Attributes:
        step: optimizer steps taken by then.
        shown: to loggers.
    """

    name: str
    value: Float[Tensor, ""] | float
    step: int
    shown: bool


class Points:
    """Values that wait where they were computed, as each look at one would wait for a GPU."""

    def __init__(self) -> None:
        self.waiting: list[Point] = []
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.last_read = time.monotonic()

    def add(self, name: str, value: Tensor | float, trainer: L.Trainer) -> None:
        """Shown as often as Lightning shows what is logged in its way.

        Raises:
            ValueError: for a tensor of several numbers.
            TypeError: for what is no number.
        """
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise ValueError(
                    f"expected one number to log as {name}, got a tensor of shape "
                    f"{tuple(value.shape)}: take its mean, or log each under a name of its own"
                )
            value = value.detach().clone().reshape(())  # it may be another's memory
        else:
            value = float(value)
        blocks = trainer.fit_loop.total_batch_idx + 1
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        shown = every > 0 and blocks % every == 0
        self.waiting.append(Point(name, value, trainer.global_step, shown))

    @property
    def overdue(self) -> bool:
        return time.monotonic() - self.last_read > PATIENCE

    def read(self, trainer: L.Trainer) -> None:
        """Gives loggers what waits."""
        points, self.waiting = self.waiting, []
        rows: dict[int, dict[str, float]] = {}
        for point, value in zip(points, values_of(points, trainer), strict=True):
            self.sums[point.name] = self.sums.get(point.name, 0.0) + value
            self.counts[point.name] = self.counts.get(point.name, 0) + 1
            if point.shown:
                rows.setdefault(point.step, {})[point.name] = value
        for logger in trainer.loggers if rows else []:
            for step, row in rows.items():
                logger.log_metrics(row, step)
            logger.save()
        self.last_read = time.monotonic()

    def means(self) -> dict[str, float]:
        """Of what was read since `forget`."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}

    def forget(self) -> None:
        self.sums, self.counts = {}, {}

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "counts": self.counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])


def values_of(points: Sequence[Point], trainer: L.Trainer) -> list[float]:
    """Their means across devices, each of which has to have the same points."""
    device = trainer.strategy.root_device
    # at once: each look at a GPU waits for it
    there = [upcast_to_float32(p.value) for p in points if lies_on(device, p.value)]
    read = iter(torch.stack(there).tolist() if there else [])
    values = [next(read) if lies_on(device, p.value) else float(p.value) for p in points]
    if trainer.world_size > 1 and values:
        means: Tensor = trainer.strategy.reduce(
            torch.tensor(values, device=device), reduce_op="mean"
        )
        return means.tolist()
    return values


def lies_on(device: torch.device, value: Tensor | float) -> bool:
    return isinstance(value, Tensor) and value.device == device


def upcast_to_float32(value: Any) -> Tensor:
    return value.to(torch.promote_types(value.dtype, torch.float32))
